//! The Unix socket in the data folder, for the gateway's owner and root alone. Its mode keeps
//! others out, and so that nothing depends on that, every caller's user id is asked of the kernel.

use std::{
    fs::{self, DirBuilder, Permissions},
    future::Future,
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, serve::Listener};
use tokio::{
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::oneshot,
    time::timeout,
};

/// The socket's name within the data folder.
const NAME: &str = "admin.sock";
/// How long requests may go on once the gateway stops.
const GRACE: Duration = Duration::from_secs(2);
/// Write permission for the group or for everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The user id that may do anything anyway.
const ROOT: u32 = 0;

/// Where the socket of a data folder is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Why the socket could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it.
    #[error("a gateway already answers on `{}`: stop it, or use another `data_dir`", .0.display())]
    Running(PathBuf),
    /// Something that is no socket has its name.
    #[error("`{}` is in the way and is no socket: move it elsewhere", .0.display())]
    InTheWay(PathBuf),
    /// Others could replace the socket by theirs.
    #[error("others may write to the data folder `{}`: make it yours with `chown` and `chmod 700`", .0.display())]
    Exposed(PathBuf),
    /// The system refused.
    #[error("the socket `{}` cannot be opened; check the folder's owner, and that the path is below 100 bytes", path.display())]
    Open {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Serving ended.
    #[error("the socket is no longer served")]
    Serve(#[source] io::Error),
}

/// The open socket. Its file is removed when it is dropped.
pub struct AdminSocket {
    listener: OwnersOnly,
    file: SocketFile,
}

impl AdminSocket {
    /// Opens the socket, and makes the data folder if there is none. A socket that a crashed
    /// gateway left behind is replaced.
    pub async fn bind(data_dir: &Path) -> Result<Self, SocketError> {
        let path = path(data_dir);
        let refuse = |source| SocketError::Open { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(refuse)?;
        let owner = rustix::process::geteuid().as_raw();
        let folder = fs::metadata(data_dir).map_err(refuse)?;
        if !may_ask(folder.uid(), owner) || folder.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(SocketError::Exposed(data_dir.to_owned()));
        }
        remove_stale(&path).await?;
        let listener = UnixListener::bind(&path).map_err(refuse)?;
        let file = SocketFile(path.clone());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(refuse)?;
        Ok(Self { listener: OwnersOnly { listener, owner }, file })
    }

    /// Serves until `stop` is done, and then gives open requests two seconds. Cancel-safe.
    pub async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SocketError> {
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopping.send(());
        };
        let server = axum::serve(self.listener, router).with_graceful_shutdown(stop).into_future();
        tokio::pin!(server);
        let served = tokio::select! {
            served = &mut server => served,
            Ok(()) = stopped => timeout(GRACE, server).await.unwrap_or(Ok(())),
        };
        drop(self.file);
        served.map_err(SocketError::Serve)
    }
}

/// A listener that turns everybody away but the owner and root.
struct OwnersOnly {
    listener: UnixListener,
    owner: u32,
}

impl Listener for OwnersOnly {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match stream.peer_cred() {
                Ok(peer) if may_ask(peer.uid(), self.owner) => return (stream, address),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "another user was turned away from the admin socket"),
                Err(error) => tracing::warn!(%error, "somebody unknown was turned away from the admin socket"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn may_ask(uid: u32, owner: u32) -> bool {
    uid == owner || uid == ROOT
}

/// Removes a socket on which nobody answers.
async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let refuse = |source| SocketError::Open { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refuse(error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::InTheWay(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(refuse),
        Err(error) => Err(refuse(error)),
        Ok(_) => Err(SocketError::Running(path.to_owned())),
    }
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the admin socket was already gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(ROOT, 1000));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, ROOT));
    }
}
