#!/usr/bin/env bash
# benchmarks/gpu/run.sh OUT [STEP...]: everything that a machine with a GPU is asked, in order of worth.
#
# OUT gets what comes, as it comes: measured.jsonl, how each step ended (steps.jsonl), what was said (log.txt), and what
# profiler and sanitizer found. Every step has a time limit of its own, and so has all of it; what hangs or fails costs
# its own step alone. `python -m benchmarks.gpu.report OUT` makes tables of it, also of one that was cut off.
#
#   STEP         of: versions build gate bench profile tests racecheck (default: all)
#   PYTHON       the interpreter whose PyTorch and packages are used as they are (default: python3)
#   LIMIT        seconds for everything (default: 480)
#   ENTRY_LIMIT  seconds for an entry of the benchmark (default: 40)
#   PATIENCE     a number that the limits of all steps and entries are multiplied by (default: 1)
#   EMULATED     1: without a GPU, on the emulated kernels and tiny sizes, to try all of this out. The host's clock stands
#                in for the device's; CUDA graphs, the profiler and the sanitizer are left out.
set -u
[ $# -ge 1 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 2; }
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd)
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
python=$(command -v "${PYTHON:-python3}") || { echo "${PYTHON:-python3} is not installed" >&2; exit 1; }
[[ $python = /* ]] || python=$root/$python
deadline=$((SECONDS + ${LIMIT:-480}))
entry_limit=${ENTRY_LIMIT:-40} patience=${PATIENCE:-1}
emulated=${EMULATED:-0}

# Emulated, the library under build/emulated is the one that is imported.
if [ "$emulated" = 1 ]; then
  export RRNN_EMULATE=1 OMP_NUM_THREADS=1
  where=build/emulated
  pytest_options=(-o "pythonpath=build/emulated ." -m emulated)
else
  export RRNN_CUDA=1
  where=.
  pytest_options=(--device cuda)
fi
in_place=(env "--chdir=$root/$where" "PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}")
module=("${in_place[@]}" "$python" -m)

# step NAME SECONDS COMMAND...: what it says goes to the file $log of OUT.
log=log.txt
step() {
  local name=$1 limit=$(($2 * patience)) begin=$SECONDS code=125
  shift 2
  ((limit > deadline - SECONDS)) && limit=$((deadline - SECONDS))
  if ((limit > 0)); then
    printf '\n=== %s, at most %s s: %s\n' "$name" "$limit" "$*" >>"$out/$log"
    # timeout ends the whole process group: what a test or a benchmark has started, too.
    timeout --kill-after=5 "$limit" "$@" >>"$out/$log" 2>&1 </dev/null
    code=$?
  fi
  ended "$name" "$code" $((SECONDS - begin)) "$limit"
}

ended() { # NAME CODE SECONDS LIMIT
  printf '{"step": "%s", "code": %d, "seconds": %d, "limit": %d}\n' "$@" >>"$out/steps.jsonl"
  printf '%-30s code %s after %s s\n' "$1" "$2" "$3"
}

# A step for which this machine has no program.
left_out() { # NAME PROGRAM
  printf '\n=== %s is left out: there is no %s\n' "$1" "$2" >>"$out/log.txt"
  ended "$1" 127 0 0
}

planned() {
  local names
  names=$(printf '", "%s' "$@")
  printf '{"planned": [%s"]}\n' "${names:3}" >>"$out/steps.jsonl"
}

installed() { "$python" -c "import importlib.util as util, sys; sys.exit(util.find_spec('$1') is None)"; }

versions() {
  if command -v nvidia-smi >/dev/null; then step nvidia-smi 20 nvidia-smi; fi
  if command -v nvcc >/dev/null; then step nvcc 10 nvcc --version; fi
  step versions 40 "${module[@]}" benchmarks.gpu.about "$out"
}

# For the architecture of the GPU that is there.
build() { step build 150 "$python" -c "import setup; setup.build_package('$where')"; }

# pytest with what is installed of its plugins; the package's own settings, which name some of them, are not strict here.
test_runner() {
  tests=(env OMP_NUM_THREADS=1 "$python" -m pytest -v -p no:cacheprovider -o addopts=-ra "${pytest_options[@]}")
  if installed pytest_timeout; then tests+=(--timeout "$1"); fi
}

several_at_once() { if [ "$emulated" != 1 ] && installed xdist; then tests+=(-n 8); fi; }

# The tests of the kernels themselves. Meanwhile the variants of a hop are compiled.
kernel_tests=(test_walk_kernels test_all_walks_kernels test_driven_walks test_sparse_walks test_sparse_hop test_hop)
kernel_tests=("${kernel_tests[@]/#/tests/ops/}")
kernel_tests=("${kernel_tests[@]/%/.py}")
gate() {
  step hop-parts-build 120 "${module[@]}" benchmarks.gpu.hop_parts &
  test_runner $((60 * patience))
  several_at_once
  if [ "$emulated" = 1 ]; then
    step gate 90 "${tests[@]}" tests/ops/test_walk_kernels.py -k "a_nan_that or same_bits_again and one"
  else
    step gate 90 "${tests[@]}" --continue-on-collection-errors \
      tests/ops/test_cuda.py::TestEveryKernel "${kernel_tests[@]}"
  fi
  wait
}

# Entry by entry, each in a process of its own; while one measures, the next one imports what it needs and waits.
bench() {
  local at_once=2 seconds=$((entry_limit * patience))
  local names name under_way=0 begin=$SECONDS
  names=$(timeout --kill-after=5 $((30 * patience)) "${module[@]}" benchmarks.gpu 2>>"$out/log.txt") ||
    { ended bench 1 $((SECONDS - begin)) 30; return; }
  planned $names
  for name in $names; do
    step "$name" $((2 * entry_limit)) "${module[@]}" benchmarks.gpu --only "$name" --out "$out" --limit "$seconds" &
    ((++under_way < at_once)) || wait -n
  done
  wait
  ended bench 0 $((SECONDS - begin)) 0
}

# One call of ours for each hot entry; emulated, without a profiler.
profile() {
  local profiler=(ncu --profile-from-start off --set full --clock-control none --force-overwrite -o "$out/ncu")
  if [ "$emulated" = 1 ]; then profiler=(); else command -v ncu >/dev/null || { left_out profile ncu; return; }; fi
  step profile 60 "${in_place[@]}" "${profiler[@]}" "$python" -m benchmarks.gpu --profile
  [ ! -e "$out/ncu.ncu-rep" ] || timeout 30 ncu --import "$out/ncu.ncu-rep" --page details >"$out/ncu.txt" 2>>"$out/log.txt"
}

# Every tensor has memory of its own, so that the sanitizer sees where it ends.
sanitizer() { # TOOL SECONDS TESTS...
  local tool=$1 limit=$2 log=$1.txt
  shift 2
  command -v compute-sanitizer >/dev/null || { left_out "$tool" compute-sanitizer; return; }
  test_runner 0
  step "$tool" "$limit" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$tool" --error-exitcode 1 \
    "${tests[@]}" "$@"
}

# All the other tests that have a device, and memcheck beside them.
tests() {
  sanitizer memcheck 150 tests/ops/test_cuda.py -k "TestEveryKernel and float32" &
  test_runner $((60 * patience))
  several_at_once
  if [ "$emulated" = 1 ]; then
    step tests 150 "${tests[@]}" tests/functional/test_parity.py -k test_empty
  else
    step tests 150 "${tests[@]}" --continue-on-collection-errors -k "not TestEveryKernel" "${kernel_tests[@]/#/--ignore=}" \
      tests/ops tests/functional tests/convergence tests/networks tests/sparse tests/spiking
  fi
  wait
}

racecheck() { sanitizer racecheck 60 tests/ops/test_cuda.py -k "TestEveryKernel and float32 and 33-1-1"; }

steps=("$@")
[ $# -gt 0 ] || steps=(versions build gate bench profile tests racecheck)
for name in "${steps[@]}"; do
  case $name in
    versions | build | gate | bench | profile | tests | racecheck) ;;
    *) echo "there is no step $name" >&2; exit 2 ;;
  esac
done
planned "${steps[@]}"
for name in "${steps[@]}"; do "$name"; done
! grep -v '"planned"\|"code": \(0\|127\),' "$out/steps.jsonl"
