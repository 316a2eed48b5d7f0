// The image of the sandbox container, made without a registry: one static program in a tar.
#pragma once
#include <string>
#include <string_view>

namespace pintle::runtime_docker {

std::string_view pause_program();  // ELF bytes, embedded at build
// A POSIX tar that holds one executable file.
std::string tar_with_program(std::string_view name, std::string_view program);

}  // namespace pintle::runtime_docker
