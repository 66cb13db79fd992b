//! How many file descriptors the process may have: as many as the system lets it, since each session takes
//! two, and what most systems give a process at first is enough for some 500.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// One for the client and one for the target.
const PER_SESSION: usize = 2;
/// For the API, the catalogs' connections, cancel requests, and the record's files.
const BESIDES: usize = 4096;

/// Raises the limit as far as it goes, and warns where that is less than the configuration may need.
pub fn raise_limit(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let open_files = if raised.is_ok() { maximum } else { current };
    let needed = config.listen.len() * config.limits.max_connections * PER_SESSION + BESIDES;
    // None is no limit.
    if let Some(open_files) = open_files.filter(|open_files| usize::try_from(*open_files).is_ok_and(|n| n < needed)) {
        tracing::warn!(
            open_files,
            needed,
            "this process may not open as many files as `max_connections` sessions need: raise its limit (`ulimit -n`, LimitNOFILE=) or lower `max_connections`"
        );
    }
}
