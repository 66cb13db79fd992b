//! The local ports of `connect`, one for each target: kept with their passwords, so that what a graphical client was told
//! once goes on working.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::Context;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sluicegate_core::hex;
use tokio::net::TcpListener;

use super::{Folder, Kept, logins};

/// The file.
const FILE: &str = "ports.json";
/// Where ports are taken from: below those that systems give to outgoing connections.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
/// How many ports are tried for a target that has none yet.
const TRIES: u16 = 50;
/// Randomness of a password.
const PASSWORD_BYTES: usize = 16;

/// A local port of one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Port {
    port: u16,
    password: Kept,
}

impl Folder {
    /// Opens the local port of a target, the kept one unless another is `asked` for, and returns it with its password.
    pub async fn local_port(
        &self,
        url: &str,
        target: &str,
        asked: Option<u16>,
    ) -> anyhow::Result<(TcpListener, SecretString)> {
        let lock = tokio::task::block_in_place(|| self.lock())?;
        let mut ports: BTreeMap<String, Port> = self.read(FILE)?;
        let name = format!("{} {target}", logins::key(url));
        let kept = ports.remove(&name);
        let listener = match asked.or(kept.as_ref().map(|kept| kept.port)) {
            Some(port) => open(port).await.with_context(|| {
                format!(
                    "the local port {port} cannot be opened: another `sluicegate connect` of yours may have it, or \
                     somebody to whom your client would send its password; choose another port with `--port`"
                )
            })?,
            None => any(&name).await?,
        };
        // Where the port changes, whoever took the former one may have been sent its password.
        let same = kept.filter(|kept| asked.is_none_or(|asked| asked == kept.port));
        let password = match same {
            Some(kept) => kept.password,
            None => Kept(random()?),
        };
        let port = Port { port: listener.local_addr()?.port(), password: password.clone() };
        ports.insert(name, port);
        self.write(&lock, FILE, &ports)?;
        Ok((listener, password.0))
    }
}

/// The first that is free, from one on that the name leads to.
async fn any(name: &str) -> anyhow::Result<TcpListener> {
    let first = place(name);
    let mut last = None;
    for step in 0..TRIES {
        match open(FIRST_PORT + (first + step) % PORTS).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(error).context("no local port can be opened: choose one with `--port`")
}

async fn open(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// The same for the same name in every version: FNV-1a.
fn place(name: &str) -> u16 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % u32::from(PORTS)).unwrap_or_default()
}

fn random() -> anyhow::Result<SecretString> {
    let mut bytes = [0; PASSWORD_BYTES];
    getrandom::fill(&mut bytes).context("the system gave no random bytes")?;
    Ok(SecretString::from(hex(&bytes)))
}
