//! Accepts connections until told to stop, then lets those in flight finish.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::guard::{self, Reach};
use super::idle::IdleTimer;

/// Most connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8_192;

/// How long a connection may take to send the head of a request, and may stay idle.
const HEADER_READ_MAX: Duration = Duration::from_secs(60);

/// Pause when the system gives no more connections, say for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, then until the requests in flight are answered; whoever calls sets a bound.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    reach: Reach,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let serving = connection(stream, router.clone(), reach, graceful.watcher());
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
    // Before the wait, so that newcomers are refused at once and can go elsewhere.
    drop(listener);
    graceful.shutdown().await;
}

async fn connection(stream: TcpStream, router: Router, reach: Reach, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = guard::check(reach, request.headers(), request.uri())
            .map(|()| super::answer(router.clone(), request.map(Body::new)));
        async move {
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer.await,
                Err(problem) => problem.into_response(),
            })
        }
    });
    let mut http = http1::Builder::new();
    http.timer(IdleTimer::default()).header_read_timeout(HEADER_READ_MAX).pipeline_flush(true);
    let conn = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(conn).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
