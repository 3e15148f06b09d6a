// The one precompiled header: libtorch and the heavy parts of the standard library.
#pragma once
#include "tensor/tensor.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>
