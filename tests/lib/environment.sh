# The same environment for every run: nothing that a developer has exported for their own Hark reaches a test.

for name in $(compgen -e HARK_) $(compgen -e HARKD_); do
    case $name in HARK_TEST_*) ;; *) unset "$name" ;; esac
done
unset name
export CARGO_TERM_COLOR=never
export RUST_BACKTRACE=1

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    export PATH="$HOME/.cargo/bin:$PATH"
fi

# nextest when it is there: it runs each test in a process of its own and ends those that hang.
if cargo nextest --version >/dev/null 2>&1; then have_nextest=yes; else have_nextest=no; fi

# One way of selecting packages and features for all stages, so that they share what they build.
everything=(--workspace --all-features --locked)

# run_tests PROFILE: all tests but doc tests, without those whose tools are missing.
run_tests() {
    if [ "$have_nextest" = yes ]; then
        local filter='all()'
        [ "$have_tmux" = yes ] || filter='not test(in_tmux)'
        suite tests count_nextest cargo nextest run "${everything[@]}" \
            --profile "$1" --no-fail-fast --status-level fail --final-status-level slow -E "$filter"
    else
        local skip=()
        [ "$have_tmux" = yes ] || skip=(-- --skip in_tmux)
        suite tests count_libtest cargo test "${everything[@]}" --tests --no-fail-fast \
            ${skip[@]+"${skip[@]}"}
    fi
}
