# Stages, their logs and the totals. A stage is quiet when it succeeds and shows its whole log when it fails.

passed=0
failed=0
skipped=0
stage_log=
log_dir=target/tests-run

# stage TITLE COMMAND…: runs the command with its output in a log; says how it went and returns its code.
stage() {
    local title=$1 begun=$SECONDS code=0
    shift
    mkdir -p "$log_dir"
    stage_log="$log_dir/${title// /-}.log"
    printf '== %s … ' "$title"
    "$@" >"$stage_log" 2>&1 || code=$?
    if [ "$code" -eq 0 ]; then
        printf 'ok (%d s)\n' $((SECONDS - begun))
    else
        printf 'FAILED (%d s), exit code %d: %s\n' $((SECONDS - begun)) "$code" "$*"
        cat "$stage_log"
        printf '== %s FAILED; the log above is %s\n' "$title" "$stage_log"
    fi
    return "$code"
}

# check TITLE COMMAND…: a stage that counts as one test; returns whether it passed.
check() {
    if stage "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        return 1
    fi
}

# suite TITLE COUNTER COMMAND…: a stage whose log COUNTER reads, adding what it finds to the totals.
suite() {
    local title=$1 counter=$2 code=0 failed_before=$failed passed_before=$passed
    shift 2
    stage "$title" "$@" || code=$?
    "$counter" "$stage_log"
    # A stage that failed without a failed test did not compile, or was killed: that is a failure too.
    if [ "$code" -ne 0 ] && [ "$failed" -eq "$failed_before" ]; then failed=$((failed + 1)); fi
    # And a suite in which nothing ran proves nothing.
    if [ "$code" -eq 0 ] && [ "$passed" -eq "$passed_before" ]; then
        echo "== $title FAILED: not one test ran"
        failed=$((failed + 1))
    fi
}

# Reads the closing line of nextest: `Summary [ 9.1s] 412 tests run: 411 passed (2 slow), 1 failed, 3 skipped`.
count_nextest() {
    local line run ok out
    line=$(grep -E '^ *Summary \[' "$1" | tail -n 1)
    run=$(sed -nE 's/.*\] +([0-9]+)(\/[0-9]+)? tests? run:.*/\1/p' <<<"$line")
    ok=$(sed -nE 's/.* ([0-9]+) passed.*/\1/p' <<<"$line")
    out=$(sed -nE 's/.* ([0-9]+) skipped.*/\1/p' <<<"$line")
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${run:-0} - ${ok:-0}))
    skipped=$((skipped + ${out:-0}))
}

# Adds up the closing lines of `cargo test`: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out`.
count_libtest() {
    local sums
    sums=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored; [0-9]+ measured; ([0-9]+) filtered out.*/\1 \2 \3 \4/p' "$1" |
        awk '{ p += $1; f += $2; s += $3 + $4 } END { print p + 0, f + 0, s + 0 }')
    read -r p f s <<<"$sums"
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))
}

# Prints the closing line, and nothing after it. With CI=true nothing may be skipped.
close_totals() {
    local reason
    for reason in ${skip_reasons[@]+"${skip_reasons[@]}"}; do echo "skipped: $reason"; done
    if [ "${CI:-}" = true ] && [ "$skipped" -gt 0 ]; then
        echo "CI=true: $skipped skipped count as failed"
        failed=$((failed + skipped))
        skipped=0
    fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
