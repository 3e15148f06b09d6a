# What mneme stands on. Read by its own build and by the installed mnemeConfig.cmake, so that both link the same
# things. Everything comes from the system (scripts/deps) or from CMAKE_PREFIX_PATH; nothing is downloaded.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# libtorch: Debian's, or any other under CMAKE_PREFIX_PATH (a PyTorch installation's share/cmake). The target is
# imported, so that an installed mneme refers to it by name instead of by this machine's paths.
find_package(Torch REQUIRED)
if(NOT TARGET mneme_torch)
  add_library(mneme_torch INTERFACE IMPORTED)
  target_include_directories(mneme_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  separate_arguments(mneme_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
  target_compile_options(mneme_torch INTERFACE ${mneme_torch_flags})
  target_link_libraries(mneme_torch INTERFACE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
endif()
