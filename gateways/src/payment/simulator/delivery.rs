//! Webhooks on their way to the endpoint: one after the other, in the order of their events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use reqwest::Client;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{WebhookEndpoint, lock};
use crate::payment::stripe::webhook;

/// Longest time for one webhook.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Most events that wait; a call that makes more waits for room.
const WAITING_MAX: usize = 1_000;

/// An event, and whom to tell when it has been tried.
type Parcel = (Value, oneshot::Sender<()>);

#[derive(Debug, Clone)]
pub(super) struct Delivery {
    queue: mpsc::Sender<Parcel>,
    /// Where they go now; none: nowhere.
    endpoint: Arc<Mutex<Option<WebhookEndpoint>>>,
}

impl Delivery {
    pub(super) fn start(
        endpoint: Option<WebhookEndpoint>,
        stop: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        // Endpoints of a simulator are on this machine, without TLS.
        let builder = Client::builder().no_proxy().tls_certs_only([]);
        let http = builder.timeout(DELIVERY_TIMEOUT).build()?;
        let (queue, mut parcels) = mpsc::channel::<Parcel>(WAITING_MAX);
        let endpoint = Arc::new(Mutex::new(endpoint));
        let present = Arc::clone(&endpoint);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            while let Some((event, tried)) = parcels.recv().await {
                let endpoint = lock(&present).clone();
                if let Some(endpoint) = endpoint {
                    deliver(&http, &endpoint, &event).await;
                }
                // Nobody may wait for it.
                let _ = tried.send(());
            }
        }));
        Ok(Self { queue, endpoint })
    }

    /// From now on they go there.
    pub(super) fn redirect(&self, endpoint: Option<WebhookEndpoint>) {
        *lock(&self.endpoint) = endpoint;
    }

    /// Queues events, and waits until they have been tried if that is asked for.
    pub(super) async fn send(&self, events: Vec<Value>, twice: bool, wait: bool) {
        for event in events {
            for _ in 0..if twice { 2 } else { 1 } {
                let (tried, done) = oneshot::channel();
                // Both fail only when the simulator is being stopped.
                let _ = self.queue.send((event.clone(), tried)).await;
                if wait {
                    let _ = done.await;
                }
            }
        }
    }
}

/// One attempt: unlike the original, a webhook that fails is not sent again.
async fn deliver(http: &Client, endpoint: &WebhookEndpoint, event: &Value) {
    let payload = event.to_string();
    let signature = webhook::sign(payload.as_bytes(), &endpoint.secret, Utc::now());
    let sent = http
        .post(&endpoint.url)
        .header("Content-Type", "application/json")
        .header("Stripe-Signature", signature)
        .body(payload)
        .send()
        .await;
    if let Err(error) = sent {
        tracing::warn!(error = %error, "webhook not delivered");
    }
}
