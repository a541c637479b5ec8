#!/usr/bin/env bash
# Coverage-guided fuzzing of every reader of foreign bytes, for hours: make campaign, or
#
#   scripts/campaign.sh [SECONDS] [TARGET...]      seconds for each target (default 600), and which (default: all)
#
# libFuzzer with AddressSanitizer, from seeds in Tests/Fixtures and Assets. What it finds interesting is kept in
# .build-fuzz/corpus/TARGET and goes on from there; an input that ends the process is written to .build-fuzz/TARGET-crash-*,
# and the script ends with 1. Report: executions and crashes by target, in .build-fuzz/report.txt.
#
# Inputs worth keeping go to Tests/Fuzz/Corpus, which every test run reads:
#
#   CRAFT_FUZZ_TARGET=gguf .build-fuzz/release/craft-fuzz keep Tests/Fuzz/Corpus/gguf .build-fuzz/gguf-crash-1234
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  targets=(images record features info safetensors gguf onnx config adapter tokenizer parquet statistics
    messagepack observation http websocket plugins signature grid run)
fi

CRAFT_FUZZ=1 swift build -c release --scratch-path .build-fuzz --product craft-fuzz \
  -Xswiftc -sanitize=fuzzer,address -Xcc -fsanitize=fuzzer-no-link,address
python3 scripts/fuzz_seeds.py .build-fuzz/seeds

status=0
for target in "${targets[@]}"; do
  mkdir -p ".build-fuzz/corpus/$target"
  log=".build-fuzz/$target.log"
  # Leaks are looked for elsewhere; a reader may take 256 MiB and two seconds.
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 CRAFT_FUZZ_TARGET=$target \
    .build-fuzz/release/craft-fuzz -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=4096 \
    -artifact_prefix=".build-fuzz/$target-" -print_final_stats=1 \
    ".build-fuzz/corpus/$target" ".build-fuzz/seeds/$target" >"$log" 2>&1 || status=1
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  crashes=$(find .build-fuzz -maxdepth 1 -name "$target-crash-*" -o -maxdepth 1 -name "$target-timeout-*" -o -maxdepth 1 \
    -name "$target-oom-*" | wc -l)
  printf '%-12s %12s executions %4s crashes\n' "$target" "${runs:-none}" "$crashes" | tee -a .build-fuzz/report.txt
  rm -rf /dev/shm/craft-fuzz-"$target"-*
done
exit $status
