//! WRITING: HTTP in, commands out. One file a resource: bodies, handlers, and how a body becomes
//! actions.
//!
//! A body is parsed into domain types at the edge; `command` makes one domain envelope of it,
//! whether it came by a single call (`call`) or as a line of `POST /v1/commands` (`envelope`).

use accrue_event_store::ledger::Ledger;
use axum::Router;
use axum::routing::{patch, post, put};
use utoipa::OpenApi;

mod call;
mod campaigns;
mod command;
mod commands;
pub mod door;
mod envelope;
mod field;
mod holds;
mod lines;
mod points;
mod prefer;
mod products;
mod program;
mod purchases;
mod sagas;
mod sales;
mod strict;
mod taken;
mod target;
mod wallets;

/// Every type of command that an envelope can name.
pub use envelope::TYPES as COMMAND_TYPES;

/// All writes. Has neither a fallback nor a limit for bodies of its own: the server sets those of
/// `accrue_http` on the whole router.
pub fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/v1/sales", post(sales::record))
        .route("/v1/sales/{sale}/returns", post(sales::take_back))
        .route("/v1/accounts/{account}/points/issue", post(points::issue))
        .route("/v1/accounts/{account}/points/redeem", post(points::redeem))
        .route("/v1/accounts/{account}/points/adjust", post(points::adjust))
        .route("/v1/accounts/{account}/points/reverse", post(points::reverse))
        .route("/v1/accounts/{account}/holds", post(holds::place))
        .route("/v1/accounts/{account}/holds/{hold}/capture", post(holds::capture))
        .route("/v1/accounts/{account}/holds/{hold}/release", post(holds::release))
        .route("/v1/campaigns", post(campaigns::create))
        .route("/v1/campaigns/evaluate", post(campaigns::evaluate))
        .route("/v1/campaigns/{campaign}/rules", put(campaigns::replace_rules))
        .route("/v1/campaigns/{campaign}/activate", post(campaigns::activate))
        .route("/v1/campaigns/{campaign}/pause", post(campaigns::pause))
        .route("/v1/campaigns/{campaign}/retire", post(campaigns::retire))
        .route("/v1/products", post(products::create))
        .route("/v1/products/{product}", patch(products::change))
        .route("/v1/products/{product}/retire", post(products::retire))
        .route("/v1/products/{product}/stock", post(products::adjust))
        .route("/v1/products/{product}/holds", post(products::hold))
        .route("/v1/products/{product}/holds/{hold}/capture", post(products::capture))
        .route("/v1/products/{product}/holds/{hold}/release", post(products::release))
        .route("/v1/purchases", post(purchases::place))
        .route("/v1/purchases/{purchase}/cancel", post(purchases::cancel))
        .route("/v1/purchases/{purchase}/refund", post(purchases::refund))
        .route("/v1/sagas/{saga}/retry", post(sagas::retry))
        .route("/v1/sagas/{saga}/abandon", post(sagas::abandon))
        .route("/v1/wallets/{wallet}/top-ups", post(wallets::top_up))
        .route("/v1/wallets/{wallet}/holds", post(wallets::hold))
        .route("/v1/wallets/{wallet}/holds/{hold}/capture", post(wallets::capture))
        .route("/v1/wallets/{wallet}/holds/{hold}/release", post(wallets::release))
        .route("/v1/wallets/{wallet}/refunds", post(wallets::refund))
        .route("/v1/program", put(program::configure))
        .route("/v1/commands", post(commands::execute))
        .with_state(ledger)
}

/// The description of all writes, collected from the handlers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Writes::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(
        sales::record,
        sales::take_back,
        points::issue,
        points::redeem,
        points::adjust,
        points::reverse,
        holds::place,
        holds::capture,
        holds::release,
        campaigns::create,
        campaigns::evaluate,
        campaigns::replace_rules,
        campaigns::activate,
        campaigns::pause,
        campaigns::retire,
        products::create,
        products::change,
        products::retire,
        products::adjust,
        products::hold,
        products::capture,
        products::release,
        purchases::place,
        purchases::cancel,
        purchases::refund,
        sagas::retry,
        sagas::abandon,
        wallets::top_up,
        wallets::hold,
        wallets::capture,
        wallets::release,
        wallets::refund,
        program::configure,
        commands::execute,
    ),
    tags(
        (name = "sales", description = "Purchases made elsewhere, and what came back of them"),
        (name = "points", description = "Issue, redeem, adjust, reverse"),
        (name = "holds", description = "Points promised to something that is not settled yet"),
        (name = "campaigns", description = "Rules that award points"),
        (name = "products", description = "What is for sale, its price and its stock"),
        (name = "purchases", description = "Orders through stock, payment and points, and back"),
        (name = "sagas", description = "What is on its way, and what is stuck"),
        (name = "wallets", description = "Stored value: money that customers have put in"),
        (name = "program", description = "A program's settings"),
        (name = "commands", description = "Many commands in one stream"),
    ),
)]
struct Writes;

#[cfg(test)]
mod tests;
