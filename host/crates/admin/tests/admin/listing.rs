//! Which approvals are listed, for whom and in what order.

use sluicegate_core::ApprovalState;

use crate::{
    stage::{Stage, basic, by_a_dba, by_an_admin},
    wire::Reply,
};

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body["items"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn everybody_sees_what_concerns_them() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let first = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let second = stage.hold("bob", "stock", &[by_an_admin()]).await;
    let [one, two] = [&first, &second].map(|held| held.approval.id.to_string());
    for live in [true, false] {
        for (name, seen) in [
            ("ann", vec![two.clone(), one.clone()]),
            ("alice", vec![one.clone()]),
            ("bob", vec![two.clone(), one.clone()]),
            ("carl", vec![one.clone()]),
            ("eve", vec![]),
        ] {
            assert_eq!(ids(&network.get("/api/v1/approvals", &basic(name)).await), seen, "{name}, live: {live}");
        }
        if live {
            network.answer(&first.path(), "deny", &basic("bob"), "{}").await;
            network.answer(&second.path(), "approve", &basic("ann"), "{}").await;
        }
    }
}

#[tokio::test]
async fn how_approvals_stand_comes_from_the_gate_first() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let cancelled = stage.hold("alice", "stock", &[by_a_dba()]).await;
    let (path, ended) = (held.path(), cancelled.path());
    cancelled.cancel().await;
    let (waiting, gone) = (&path[18..], &ended[18..]);
    let list = async |query: &str| ids(&network.get(&format!("/api/v1/approvals?{query}"), &basic("ann")).await);
    assert_eq!(list("").await, [gone, waiting]);
    assert_eq!(list("state=pending").await, [waiting]);
    assert_eq!(list("state=abandoned").await, [gone]);
    assert_eq!(list("requester=alice&target=stock").await, [gone]);
    assert_eq!(list("requester=bob").await, Vec::<String>::new());
    assert_eq!(network.get(&ended, &basic("alice")).await.state(), ApprovalState::Abandoned);
    // Approved, but its session has not taken notice yet: the record still calls it pending.
    network.answer(&held.path(), "approve", &basic("bob"), "{}").await;
    assert_eq!(list("state=pending").await, Vec::<String>::new());
    assert_eq!(list("state=approved").await, [waiting]);
    assert_eq!(network.get(&held.path(), &basic("bob")).await.state(), ApprovalState::Approved);
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let mut all = Vec::new();
    let mut waiting = Vec::new();
    for n in 0..7 {
        let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
        all.insert(0, held.approval.id.to_string());
        if n % 2 == 0 { held.cancel().await } else { waiting.push(held) }
    }
    let pending: Vec<_> = waiting.iter().rev().map(|held| held.approval.id.to_string()).collect();
    for (filter, expected) in [("", &all), ("&state=pending", &pending)] {
        let (mut seen, mut before) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/approvals?limit=2{filter}{before}");
            let reply = network.get(&path, &basic("bob")).await;
            let page = ids(&reply);
            assert!(page.len() <= 2);
            seen.extend(page);
            let Some(next) = reply.body["next"].as_str() else { break };
            before = format!("&before={next}");
        }
        assert_eq!(&seen, expected, "{filter}");
    }
    for query in
        ["limit=0", "limit=1001", "limit=x", "limit=", "state=open", "before=x", "before=", "who=x", "limit=1&limit=2"]
    {
        assert_eq!(network.get(&format!("/api/v1/approvals?{query}"), &basic("bob")).await.status, 400, "{query}");
    }
}
