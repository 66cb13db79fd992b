//! What machines ask: probes without credentials, and measurements with them.

use crate::stage::{Stage, basic};

#[tokio::test]
async fn probes_need_no_credentials_and_say_why_not() {
    let stage = Stage::new();
    let network = stage.listen().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(network.ask("GET", path, &[], "").await.status, 200, "{path}");
    }
    stage.stop();
    assert_eq!(network.ask("GET", "/healthz", &[], "").await.status, 200);
    let reply = network.ask("GET", "/readyz", &[], "").await;
    assert_eq!((reply.status, reply.detail()), (503, "the gateway stops"), "{reply:?}");
}

#[tokio::test]
async fn measurements_are_for_admins_and_those_who_are_listed() {
    let stage = Stage::new();
    let network = stage.listen().await;
    for (user, status) in [("ann", 200), ("eve", 200), ("alice", 403)] {
        assert_eq!(network.get("/metrics", &basic(user)).await.status, status, "{user}");
    }
    assert_eq!(network.ask("GET", "/metrics", &[], "").await.status, 401);
}
