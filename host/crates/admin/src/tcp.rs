//! The API on the network: one task a connection, HTTP/1.1 with or without TLS, with the listener's
//! limits on those who have not yet proven who they are.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use sluicegate_core::Chain;
use sluicegate_net::{Listener, MaybeTls, ServerTls, Slot, Stop};
use tokio::net::TcpStream;

use crate::api::Peer;

/// How long a request's head may take to arrive, and how long a connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that are kept of a request that is being read; a head is never larger.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Serves the API until stopping is asked for; requests under way have the listener's grace. `tls` is
/// none where the listener's exposure allows plaintext.
pub async fn serve_tcp(listener: Listener, tls: Option<Arc<ServerTls>>, router: Router, stop: Stop) {
    listener
        .run(stop, move |stream, peer, slot, stop| {
            let (tls, router) = (tls.clone(), router.clone());
            async move {
                match secure(tls, stream).await {
                    Ok(stream) => serve(stream, peer, slot, stop, router).await,
                    Err(error) => {
                        tracing::debug!(%peer, error = %Chain(&error), "no TLS with a client of the admin API")
                    }
                }
            }
        })
        .await;
}

async fn secure(tls: Option<Arc<ServerTls>>, stream: TcpStream) -> Result<MaybeTls, sluicegate_net::TlsError> {
    match tls {
        Some(tls) => tls.accept(stream).await,
        None => Ok(MaybeTls::Plain(stream)),
    }
}

async fn serve(stream: MaybeTls, peer: SocketAddr, slot: Slot, mut stop: Stop, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(slot.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let (mut overdue, mut stopping) = (stop.clone(), false);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error = %Chain(&error), "a connection to the admin API broke");
                }
                return;
            }
            () = stop.asked(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = overdue.overdue() => return,
        }
    }
}
