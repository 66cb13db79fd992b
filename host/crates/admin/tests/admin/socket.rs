//! The API over the owner's socket, and the socket itself.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sluicegate_admin::{AdminClient, AdminSocket, ClientError, Door, SocketError, path, router};
use sluicegate_core::{
    SessionId,
    record::Event,
    sessions::{SessionFilter, SessionVerdict},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    record::{BROKEN, KNOWN, REMOVED, TORN, UNKNOWN},
    stage::Stage,
};

struct Gateway {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), SocketError>>,
}

async fn start(data_dir: &Path) -> Gateway {
    let socket = AdminSocket::bind(data_dir).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(socket.serve(router(Stage::new().api, Door::Owner), async {
        let _ = stopped.await;
    }));
    Gateway { stop, served }
}

impl Gateway {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

/// One request as bytes, and the status and the body that come back.
async fn raw(data_dir: &Path, request_line: &str) -> (u16, String, Value) {
    let mut stream = UnixStream::connect(path(data_dir)).await.unwrap();
    let request = format!("{request_line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap())
}

/// On several threads, so that a request can overtake the connection's own task.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_connection_carries_page_after_page() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let mut client = AdminClient::connect(dir.path()).await.unwrap();
    for from in 0..2000 {
        let view = client.session(KNOWN, from).await.unwrap().unwrap();
        assert_eq!(view.next, Some(from + 1));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_client_asks_and_gets_what_the_ports_say() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let mut client = AdminClient::connect(dir.path()).await.unwrap();

    let filter = SessionFilter {
        user: Some("größe & söhne/100%+?#".to_owned()),
        target: Some("orders".to_owned()),
        verdict: Some(SessionVerdict::Masked),
        table: Some("public.orders".to_owned()),
        since: Some(1_700_000_000_123),
        until: Some(-1),
        before: Some(BROKEN),
        limit: 33,
    };
    let page = client.sessions(&filter).await.unwrap();
    let seen = &page.items[0];
    assert_eq!((Some(&seen.user), Some(&seen.target)), (filter.user.as_ref(), filter.target.as_ref()));
    assert_eq!((seen.rows, page.next), (33, Some(BROKEN)));
    assert_eq!((Some(seen.opened_at), seen.closed_at), (filter.since, filter.until));
    assert_eq!((seen.named.first(), seen.ended.as_deref()), (filter.table.as_ref(), Some("Masked")));

    let view = client.session(KNOWN, 41).await.unwrap().unwrap();
    assert_eq!((view.summary.id, view.next), (KNOWN, Some(42)));
    assert!(matches!(&view.entries[0].entry.event, Event::Closed(end) if end.commands == 41));
    assert_eq!(client.session(UNKNOWN, 0).await.unwrap(), None);
    let removed = client.session(REMOVED, 0).await.unwrap_err().to_string();
    assert!(removed.contains("retention removed"), "{removed}");
    assert_eq!(client.policies().await.unwrap()[0]["module"], json!("pii-mask"));
    assert!(client.record_key().await.unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
    let me = client.whoami().await.unwrap();
    assert_eq!((me.user, me.admin, me.owner), (None, false, true));
    let error = client.session(BROKEN, 0).await.unwrap_err();
    assert_eq!(error.to_string(), "the record cannot be read: a block does not decompress");
    gateway.stop().await;
}

#[tokio::test]
async fn the_wire_is_plain_json_and_errors_are_problems() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let ask = |line: &'static str| raw(dir.path(), line);

    let (status, _, list) = ask("GET /api/v1/sessions?user=").await;
    assert_eq!((status, &list["next"], &list["items"][0]["rows"]), (200, &Value::Null, &json!(50)));
    assert_eq!(list["items"][0]["id"], json!("00000000-0000-0000-0000-000000000007"));
    let (_, _, view) = ask("GET /api/v1/sessions/00000000-0000-0000-0000-000000000007").await;
    let event = json!({"closed": {"commands": 0, "reason": "the client left"}});
    let session = "00000000-0000-0000-0000-000000000007";
    let entry = json!({"number": 0, "hash": "00".repeat(32), "session": session, "at": 5, "event": event});
    assert_eq!(view["entries"], json!([entry]));

    for (line, expected) in [
        ("GET /api/v1/sessions?limit=0", 400),
        ("GET /api/v1/sessions?limit=1001", 400),
        ("GET /api/v1/sessions?limit=many", 400),
        ("GET /api/v1/sessions?before=yesterday", 400),
        ("GET /api/v1/sessions?before=", 400),
        ("GET /api/v1/sessions?since=yesterday", 400),
        ("GET /api/v1/sessions?verdict=maybe", 400),
        ("GET /api/v1/policies?usr=alice", 400),
        ("GET /api/v1/sessions/00000000000000000000000000000007", 400),
        ("GET /api/v1/sessions/00000000-0000-0000-0000-000000000007?from=9007199254740992", 400),
        ("GET /api/v1/sessions/00000000-0000-0000-0000-000000000009/export", 404),
        ("GET /api/v1/sessions?usr=alice", 400),
        ("GET /api/v1/sessions/yesterday", 400),
        ("GET /api/v1/sessions/%FF", 400),
        ("GET /api/v1/sessions/00000000-0000-0000-0000-000000000009", 404),
        ("GET /api/v1/sessions/00000000-0000-0000-0000-000000000008", 500),
        ("GET /elsewhere", 404),
        ("POST /api/v1/policies", 405),
    ] {
        let (status, head, problem) = ask(line).await;
        assert_eq!((status, &problem["status"]), (expected, &json!(expected)), "{line}");
        assert!(head.contains("content-type: application/problem+json"), "{line}: {head}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_export_comes_page_by_page_and_says_when_it_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let mut client = AdminClient::connect(dir.path()).await.unwrap();
    let whole = export(&mut client, KNOWN).await.unwrap();
    let lines: Vec<_> = (0..6).map(|line| format!("{{\"line\":{line}}}\n")).collect();
    assert_eq!(whole, lines.concat());
    assert!(client.export(UNKNOWN).await.unwrap().is_none());
    assert!(client.whoami().await.unwrap().owner, "the connection goes on");
    // What came before the break may be lost with it, up to the answer's head.
    let torn = export(&mut client, TORN).await.unwrap_err();
    assert!(matches!(torn, ClientError::Body(_) | ClientError::Connection(_)), "{torn:?}");
    assert!(client.whoami().await.unwrap().owner, "there is another connection");
    gateway.stop().await;
}

async fn export(client: &mut AdminClient, id: SessionId) -> Result<String, ClientError> {
    let mut export = client.export(id).await?.unwrap();
    let mut text = String::new();
    while let Some(chunk) = export.chunk().await? {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    Ok(text)
}

#[tokio::test]
async fn the_socket_is_the_owners_and_goes_with_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new");
    let gateway = start(&data_dir).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path(&data_dir)), mode(&data_dir)), (0o600, 0o700));
    assert!(matches!(AdminSocket::bind(&data_dir).await, Err(SocketError::Running(_))));
    AdminClient::connect(&data_dir).await.unwrap().policies().await.unwrap();
    gateway.stop().await;
    assert!(!path(&data_dir).exists());
    assert!(matches!(AdminClient::connect(&data_dir).await, Err(ClientError::NotRunning(_))));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let socket = path(dir.path());
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(std::fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    assert!(matches!(AdminClient::connect(dir.path()).await, Err(ClientError::NotRunning(_))));
    start(dir.path()).await.stop().await;

    std::fs::write(&socket, "precious").unwrap();
    assert!(matches!(AdminSocket::bind(dir.path()).await, Err(SocketError::InTheWay(_))));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(AdminSocket::bind(dir.path()).await, Err(SocketError::Exposed(_))));
}

#[tokio::test]
async fn a_caller_who_lingers_does_not_keep_the_gateway_from_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let mut lingering = UnixStream::connect(path(dir.path())).await.unwrap();
    lingering.write_all(b"GET /api/v1/policies HTTP/1.1\r\nhost:").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    gateway.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// Needs root, to become somebody else; without it there is nobody to turn away.
#[tokio::test]
async fn the_kernel_is_asked_who_calls_whatever_the_modes_say() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    for (path, mode) in [(dir.path().to_owned(), 0o755), (path(dir.path()), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    assert!(ask_as(0, dir.path()).await.contains("200 OK"));
    assert_eq!(ask_as(65534, dir.path()).await, "connected\n");
    gateway.stop().await;
}

/// What a process of that user is told on the socket.
async fn ask_as(uid: u32, data_dir: &Path) -> String {
    const SCRIPT: &str = r#"use IO::Socket::UNIX; $SIG{PIPE} = "IGNORE";
        my $s = IO::Socket::UNIX->new($ARGV[0]) or die; print "connected\n"; $s->autoflush(1);
        print $s "GET /api/v1/policies HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"; print while <$s>;"#;
    let output = tokio::process::Command::new("setpriv")
        .args([&format!("--reuid={uid}"), "--clear-groups", "perl", "-e", SCRIPT])
        .arg(path(data_dir))
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
