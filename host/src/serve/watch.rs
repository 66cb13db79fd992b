//! Tells when files may have changed: the configuration, or a certificate and its key. It is their folders
//! that are watched, because editors replace files and Kubernetes swaps a symbolic link; events are only
//! hints, and the files' own bytes say whether anything changed.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Events that come closer together than this are one change.
const SETTLE: Duration = Duration::from_millis(150);
/// The files are looked at this often even if the system tells nothing, as network file systems do.
const POLL: Duration = Duration::from_secs(10);
/// What Kubernetes swaps when a mounted ConfigMap or Secret changes.
const KUBERNETES_LINK: &str = "..data";

/// Watches some files.
pub struct FileWatch {
    files: Vec<Seen>,
    hints: mpsc::Receiver<()>,
    /// None where the system cannot watch; then polling alone must do.
    _watcher: Option<RecommendedWatcher>,
}

/// A file, and what was in it. That may be a key.
struct Seen {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl FileWatch {
    /// Watches files whose bytes were those.
    pub fn start<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> Self {
        let seen = |(path, bytes): (&Path, &[u8])| Seen { path: path.to_owned(), bytes: bytes.to_vec().into() };
        let files: Vec<Seen> = files.into_iter().map(seen).collect();
        let (sender, hints) = mpsc::channel(1);
        let watcher = watcher(&files, sender).inspect_err(|error| {
            tracing::warn!(%error, "a folder cannot be watched; its files are looked at every {POLL:?} instead");
        });
        Self { files, hints, _watcher: watcher.ok() }
    }

    /// Waits until the files' bytes are other than when this last returned. A file that is gone or
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
            let mut changed = Vec::new();
            for (index, file) in self.files.iter().enumerate() {
                if let Ok(now) = tokio::fs::read(&file.path).await.map(Zeroizing::new)
                    && now != file.bytes
                {
                    changed.push((index, now));
                }
            }
            if changed.is_empty() {
                continue;
            }
            for (index, now) in changed {
                if let Some(file) = self.files.get_mut(index) {
                    file.bytes = now;
                }
            }
            return;
        }
    }
}

fn watcher(files: &[Seen], hints: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let names: BTreeSet<OsString> =
        files.iter().filter_map(|file| file.path.file_name()).map(OsStr::to_owned).collect();
    let concerns = move |path: &PathBuf| {
        path.file_name().is_some_and(|found| names.contains(found) || found == OsStr::new(KUBERNETES_LINK))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let concerned = event.is_ok_and(|e| !matches!(e.kind, EventKind::Access(_)) && e.paths.iter().any(&concerns));
        if concerned {
            // A full channel already holds a hint.
            let _ = hints.try_send(());
        }
    })?;
    let folder = |file: &Seen| match file.path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    for folder in files.iter().map(folder).collect::<BTreeSet<PathBuf>>() {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
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
        let mut watch = FileWatch::start([(path.as_path(), b"a".as_slice())]);
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
        let mut watch = FileWatch::start([(path.as_path(), b"a".as_slice())]);
        std::fs::write(&path, "a").unwrap();
        std::fs::remove_file(&path).unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(1), watch.changed()).await;
        assert!(waited.is_err());
    }

    #[tokio::test]
    async fn several_files_are_watched_wherever_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let paths = [temp.path().join("cert/gate.pem"), temp.path().join("key/gate.key")];
        for path in &paths {
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            std::fs::write(path, "a").unwrap();
        }
        let mut watch = FileWatch::start(paths.iter().map(|path| (path.as_path(), b"a".as_slice())));
        for path in [&paths[0], &paths[1], &paths[0]] {
            let before = std::fs::read(path).unwrap();
            std::fs::write(path, [before.as_slice(), b"b"].concat()).unwrap();
            assert!(sees(&mut watch).await, "{}", path.display());
        }
    }
}
