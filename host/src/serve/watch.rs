//! Tells when the configuration file may have changed. It is the folder that is watched, because
//! editors replace files and Kubernetes swaps a symbolic link; events are only hints, and the file's
//! own bytes say whether anything changed.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Events that come closer together than this are one change.
const SETTLE: Duration = Duration::from_millis(150);
/// The file is looked at this often even if the system tells nothing, as network file systems do.
const POLL: Duration = Duration::from_secs(10);
/// What Kubernetes swaps when a mounted ConfigMap or Secret changes.
const KUBERNETES_LINK: &str = "..data";

/// Watches one file.
pub struct FileWatch {
    path: PathBuf,
    seen: Vec<u8>,
    hints: mpsc::Receiver<()>,
    /// None where the system cannot watch; then polling alone must do.
    _watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Watches a file whose bytes were `seen`.
    pub fn start(path: &Path, seen: &[u8]) -> Self {
        let (sender, hints) = mpsc::channel(1);
        let watcher = watcher(path, sender).inspect_err(|error| {
            tracing::warn!(%error, "the configuration's folder cannot be watched; it is looked at every {POLL:?} instead");
        });
        Self { path: path.to_owned(), seen: seen.to_vec(), hints, _watcher: watcher.ok() }
    }

    /// Waits until the file's bytes are other than when this last returned. A file that is gone or
    /// cannot be read is no change. Cancel-safe.
    pub async fn changed(&mut self) {
        // It begins with a look, so that neither a change from before the watch nor one whose hint went
        // to a call that was cancelled is missed.
        let mut pause = Duration::ZERO;
        loop {
            // An error means that nobody watches: then this is the poll's pause.
            match tokio::time::timeout(pause, self.hints.recv()).await {
                Ok(Some(())) => tokio::time::sleep(SETTLE).await,
                Ok(None) => tokio::time::sleep(POLL).await,
                Err(_) => {}
            }
            pause = POLL;
            if let Ok(now) = tokio::fs::read(&self.path).await
                && now != self.seen
            {
                self.seen = now;
                return;
            }
        }
    }
}

fn watcher(path: &Path, hints: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let concerns = move |path: &PathBuf| {
        path.file_name().is_some_and(|found| found == name || found == OsStr::new(KUBERNETES_LINK))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let concerned = event.is_ok_and(|e| !matches!(e.kind, EventKind::Access(_)) && e.paths.iter().any(&concerns));
        if concerned {
            // A full channel already holds a hint.
            let _ = hints.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sees(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn writes_renames_and_swapped_links_are_seen() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("gate.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::start(&path, b"a");
        std::fs::write(&path, "b").unwrap();
        assert!(sees(&mut watch).await, "a write");
        std::fs::write(temp.path().join("new"), "c").unwrap();
        std::fs::rename(temp.path().join("new"), &path).unwrap();
        assert!(sees(&mut watch).await, "a rename");
        for version in ["v1", "v2"] {
            std::fs::create_dir(temp.path().join(version)).unwrap();
            std::fs::write(temp.path().join(version).join("gate.toml"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", temp.path().join("..data")).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("..data/gate.toml", &path).unwrap();
        assert!(sees(&mut watch).await, "a file that became a link");
        std::os::unix::fs::symlink("v2", temp.path().join("..data_tmp")).unwrap();
        std::fs::rename(temp.path().join("..data_tmp"), temp.path().join("..data")).unwrap();
        assert!(sees(&mut watch).await, "a swapped link");
    }

    #[tokio::test]
    async fn the_same_bytes_are_no_change() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("gate.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::start(&path, b"a");
        std::fs::write(&path, "a").unwrap();
        std::fs::remove_file(&path).unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(1), watch.changed()).await;
        assert!(waited.is_err());
    }
}
