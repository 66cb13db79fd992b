//! Requests as bytes on a connection, and what comes back.

use std::{collections::HashMap, net::SocketAddr};

use serde_json::{Value, json};
use sluicegate_core::ApprovalState;
use sluicegate_net::Stopper;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// The API on a listener.
pub struct Network {
    pub address: SocketAddr,
    pub stopper: Stopper,
    pub served: JoinHandle<()>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Value,
}

impl Network {
    pub async fn get(&self, path: &str, authorization: &str) -> Reply {
        self.ask("GET", path, &[("authorization", authorization)], "").await
    }

    /// Approves or denies, with this body.
    pub async fn answer(&self, held: &str, verb: &str, authorization: &str, body: &str) -> Reply {
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        self.ask("POST", &format!("{held}/{verb}"), &headers, body).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = HashMap::from([("host", "localhost"), ("connection", "close")]);
        all.extend(headers.iter().copied().filter(|(_, value)| !value.is_empty()));
        let mut request = format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in all {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("\r\n{body}"));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        Reply::parse(&answer)
    }

    pub async fn stop(self) {
        self.stopper.stop();
        self.served.await.unwrap();
    }
}

impl Reply {
    pub fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        Self { status, head: head.to_lowercase(), body }
    }

    /// What the problem says.
    pub fn detail(&self) -> &str {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], json!(self.status));
        self.body["detail"].as_str().unwrap()
    }

    pub fn state(&self) -> ApprovalState {
        serde_json::from_value(self.body["state"].clone()).unwrap()
    }
}
