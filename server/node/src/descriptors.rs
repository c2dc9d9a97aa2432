//! File descriptors: each connection takes one, and the system hands out few unless it is asked.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit as far as the system allows without special rights. Returns how many descriptors
/// it may have now; `None` for as many as it likes.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        // It stays what it was, and whoever starts the server is told if that is too little.
        Err(_) => current,
    }
}

/// Why so many descriptors are too few for so many connections; `None` if they are not.
pub fn objection(descriptors: Option<u64>, connections_max: u32) -> Option<String> {
    let needed = u64::from(connections_max) + BESIDES;
    let descriptors = descriptors.filter(|have| *have < needed)?;
    Some(format!(
        "the system allows {descriptors} open files, and limits.connections_max = {connections_max} may need \
         {needed}; raise the hard limit (ulimit -Hn, LimitNOFILE= in systemd) or lower limits.connections_max"
    ))
}

/// Databases, listeners, logs and what the runtime needs.
const BESIDES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_told() {
        assert!(objection(Some(1_024), 10_000).unwrap().contains("allows 1024 open files"));
        assert_eq!(objection(Some(1_024), 960), None);
        assert_eq!(objection(None, 1_000_000), None);
    }

    #[test]
    fn the_limit_never_becomes_lower() {
        let before = getrlimit(Resource::Nofile).current;
        let after = raise_limit();
        assert!(after.is_none_or(|after| before.is_some_and(|before| before <= after)));
        assert_eq!(getrlimit(Resource::Nofile).current, after);
    }
}
