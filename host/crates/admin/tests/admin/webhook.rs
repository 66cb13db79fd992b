//! The webhook against a real receiver: signed, tried again, and quiet once nobody waits any more.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use sluicegate_admin::{Webhook, WebhookConfig};
use sluicegate_core::{approvals::Announcer, record};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    logs,
    stage::{Stage, by_a_dba},
};

const KEY: [u8; 32] = [0xA7; 32];

struct Received {
    head: String,
    body: Vec<u8>,
}

/// Answers each request with the next status, the last one for ever.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    async fn start(statuses: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/url-secret", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        tokio::spawn(async move {
            for n in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                let request = loop {
                    stream.read_buf(&mut bytes).await.unwrap();
                    if let Some(request) = whole(&bytes) {
                        break request;
                    }
                };
                kept.lock().unwrap().push(request);
                let status = statuses[n.min(statuses.len() - 1)];
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, received }
    }

    fn webhook(&self) -> Arc<Webhook> {
        logs::keep();
        let secret = format!("whsec_{}", STANDARD.encode(KEY)).into();
        Arc::new(Webhook::new(&WebhookConfig { url: self.url.parse().unwrap(), secret }).unwrap())
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    async fn wait_for(&self, count: usize) {
        let start = Instant::now();
        while self.count() < count {
            assert!(start.elapsed() < Duration::from_secs(20), "only {} came", self.count());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Received> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let body = bytes[end + 4..].to_vec();
    let length: usize = header(&head, "content-length").parse().unwrap();
    (body.len() == length).then_some(Received { head, body })
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let is = |line: &&str| line.to_lowercase().starts_with(&format!("{name}: "));
    head.lines().find(is).unwrap().split_once(": ").unwrap().1
}

#[tokio::test]
async fn a_hold_is_announced_signed_and_again_until_it_is_taken() {
    let receiver =
        Receiver::start(&["500 Oops", "302 Found\r\nlocation: http://127.0.0.1:1/elsewhere", "204 No Content"]).await;
    let webhook = receiver.webhook();
    let stage = Stage::announcing(Some(Arc::clone(&webhook) as _));
    webhook.follow(&stage.approvals);
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    receiver.wait_for(3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let received = receiver.received.lock().unwrap();
    assert_eq!(received.len(), 3, "once it is taken there is nothing more to say");
    for Received { head, body } in received.iter() {
        assert!(head.starts_with("POST /hooks/url-secret HTTP/1.1"), "{head}");
        assert_eq!(header(head, "content-type"), "application/json");
        let (id, timestamp) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
        assert_eq!(id, format!("msg_{}", held.approval.id), "each try has the same id");
        assert!((record::now() / 1000 - timestamp.parse::<i64>().unwrap()).abs() < 30);
        let signature = header(head, "webhook-signature").strip_prefix("v1,").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac.verify_slice(&STANDARD.decode(signature).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&payload["type"], &payload["data"]["requester"]), (&"approval.pending".into(), &"alice".into()));
        assert_eq!(payload["data"], serde_json::to_value(&held.approval).unwrap());
        assert!(payload["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    let log = logs::text();
    assert!(log.contains("the webhook did not take a hold") && log.contains("it answered 500"));
    let ours = log.lines().filter(|line| line.contains("sluicegate"));
    for secret in [STANDARD.encode(KEY), "url-secret".to_owned()] {
        assert!(!ours.clone().any(|line| line.contains(&secret)), "no secret is logged");
    }
}

#[tokio::test]
async fn nothing_is_announced_once_nobody_waits() {
    let receiver = Receiver::start(&["503 Later"]).await;
    let webhook = receiver.webhook();
    let stage = Stage::announcing(Some(Arc::clone(&webhook) as _));
    webhook.follow(&stage.approvals);
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    receiver.wait_for(1).await;
    held.cancel().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_no_more_than_the_queue() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = Receiver { url: format!("http://{}/", deaf.local_addr().unwrap()), received: Arc::default() };
    let webhook = receiver.webhook();
    let held = Stage::new().hold("alice", "orders", &[by_a_dba()]).await;
    for _ in 0..1000 {
        webhook.pending(&held.approval);
    }
    let dropped = || {
        logs::text()
            .matches(&format!(
                "a hold is not announced: 1000 others wait for the webhook already approval={}",
                held.approval.id
            ))
            .count()
    };
    assert_eq!(dropped(), 0);
    webhook.pending(&held.approval);
    assert_eq!(dropped(), 1);
}
