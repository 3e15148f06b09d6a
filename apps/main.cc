#include <cstdio>

int main() { std::puts("mneme"); }
