// The one precompiled header of everything that uses libtorch: what nearly all of it includes and never
// changes.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"
