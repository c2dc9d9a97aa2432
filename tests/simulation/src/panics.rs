//! Panics in tasks, which a runtime would swallow: each is a finding.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `work` and gives back what panicked on this thread meanwhile, in tasks or in `work` itself.
pub(crate) fn watch(work: impl FnOnce()) -> Vec<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_watched = SEEN.with_borrow_mut(|seen| {
                seen.as_mut().map(|seen| seen.push(info.to_string().replace('\n', " "))).is_some()
            });
            if !is_watched {
                before(info);
            }
        }));
    });
    SEEN.set(Some(Vec::new()));
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)); // noted by the hook
    SEEN.take().unwrap_or_default()
}
