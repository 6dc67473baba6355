#!/bin/sh
# Replaces the kernel compiler in mock mode: it prints the expected version, and every output is a copy of kernel.elf.
if [ "$1" = --version ]; then
    echo "riscv-tt-elf-g++ (tenstorrent/sfpi:7.89.0) 15.1.0"
    exit 0
fi
while [ $# -gt 1 ]; do
    case "$1" in
        -o) output=$2 ;;
        -MF) dependencies=$2 ;;
    esac
    shift
done
[ -z "$dependencies" ] || echo "$output:" > "$dependencies"
exec cp "${0%/compiler/bin/*}/kernel.elf" "$output"
