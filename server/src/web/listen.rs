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

/// Serves until `stop`, and then until the requests in flight are answered; whoever calls sets a bound.
/// Whoever comes in between is served as well, so that he hears from the server itself that it
/// is about to leave.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    reach: Reach,
    stop: CancellationToken,
) {
    spare_control(&listener);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async || loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    let begin = |(stream, permit), watcher, stays| {
        let serving = connection(stream, router.clone(), reach, watcher, stays);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        })
    };
    let (early, late) = (GracefulShutdown::new(), GracefulShutdown::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept() => begin(accepted, early.watcher(), true),
        };
    }
    let answered = early.shutdown();
    tokio::pin!(answered);
    loop {
        tokio::select! {
            () = &mut answered => break,
            accepted = accept() => begin(accepted, late.watcher(), false),
        };
    }
    drop(listener);
    late.shutdown().await;
}

/// Within one machine nothing is lost on the way, so the plainest control of congestion will do for the
/// connections of a listener there. One that paces (BBR, where a system has it as its default)
/// reckons with every segment, and has begun to when a connection is accepted.
#[cfg(target_os = "linux")]
fn spare_control(listener: &TcpListener) {
    let local = listener.local_addr().is_ok_and(|it| it.ip().to_canonical().is_loopback());
    if local && let Err(error) = rustix::net::sockopt::set_tcp_congestion(listener, "reno") {
        tracing::debug!(%error, "the listener keeps its control of congestion");
    }
}

#[cfg(not(target_os = "linux"))]
fn spare_control(_: &TcpListener) {}

/// Serves a connection: one that `stays`, for as many requests as it brings.
async fn connection(
    stream: TcpStream,
    router: Router,
    reach: Reach,
    watcher: Watcher,
    stays: bool,
) {
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
    http.keep_alive(stays);
    let conn = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(conn).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn control(socket: impl AsFd) -> String {
        rustix::net::sockopt::tcp_congestion(socket).expect("readable")
    }

    #[tokio::test]
    async fn connections_within_the_machine_have_the_plainest_control_and_others_the_systems() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let system = control(&listener);
        spare_control(&listener);
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(control(&accepted), "reno");
        let open_to_others = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
        spare_control(&open_to_others);
        assert_eq!(control(&open_to_others), system);
    }
}
