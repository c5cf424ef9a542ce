//! `orders`, `sagas` and `takings` say what the purchases themselves would say.

use std::collections::BTreeMap;

use accrue_domain::aggregate::{Aggregate as _, Kind};
use accrue_domain::event::Event;
use accrue_domain::purchase::Purchase;
use accrue_domain::purchase::command::{Command, Portion};
use accrue_domain::purchase::event::Effect;
use accrue_domain::purchase::event::Event as Happened;
use accrue_domain::purchase::order::Tender;
use accrue_domain::purchase::step::Step;
use accrue_event_store::clock::Clock as _;
use accrue_event_store::log_query::read_kinds;
use accrue_event_store::state::State;
use accrue_projections::model::MODELS;
use accrue_projections::models::{orders, sagas, takings};
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::harness::{World, caught_up, dump, hour, pence};
use crate::shop::{TOKEN, card, done, of_refund, order, points, purchase, refund, there, wallet};

/// What the log says of its purchases, without any of our tables.
#[derive(Default)]
struct Folded {
    /// The last placed first.
    orders: Vec<Value>,
    sagas: BTreeMap<String, Value>,
    takings: BTreeMap<(String, String), [i64; 5]>,
}

async fn folded(world: &World) -> Folded {
    let mut conn = world.connect().await;
    let (codec, all) = (world.ledger.codec(), (0, i64::MAX));
    let events = read_kinds(&mut conn, codec, all, 100_000, &[Kind::Purchase]).await.unwrap();
    let now = world.clock.now();
    let mut purchases: BTreeMap<String, (Purchase, i64, i64)> = BTreeMap::new();
    let mut folded = Folded::default();
    for it in &events {
        let id = it.stream.as_ref().unwrap().id().to_owned();
        let (state, first, last) = purchases.entry(id).or_default();
        for event in it.events() {
            let Event::Purchase(event) = event else { continue };
            state.evolve(event);
            folded.count(state, event, it.row.recorded_at.date_naive().to_string());
        }
        *first = if *first == 0 { it.position } else { *first };
        *last = it.position;
    }
    let mut rows = Vec::new();
    for (id, (state, first, last)) in &purchases {
        let order = state.order().unwrap();
        let mut row = json!({"id": id, "state": state.status(), "total": order.total,
                             "discount": order.discount(),
                             "refunded": state.refunds().refunded(), "placed_at": order.placed_at,
                             "position": last});
        if let Some(account) = &order.account {
            row["account"] = json!(account);
        }
        if let Some(reason) = state.trail().reason() {
            row["reason"] = json!(reason.code);
        }
        rows.push((*first, row));
        if let Some(open) = state.open() {
            let name = format!("purchase:{id}");
            let mut saga = json!({"saga": name, "kind": "purchase", "id": id, "state": open.status,
                "step": open.step, "way": open.way, "attempts": open.attempts,
                "since": open.since, "age_seconds": (now - open.since).num_seconds(),
                "position": last});
            if let Some(next_at) = state.next_deadline() {
                saga["next_at"] = json!(next_at);
            }
            if let Some(detail) = open.detail {
                saga["detail"] = json!(detail);
            }
            folded.sagas.insert(name, saga);
        }
    }
    rows.sort_by_key(|(first, _)| -first);
    folded.orders = rows.into_iter().map(|(_, row)| row).collect();
    folded
}

impl Folded {
    fn count(&mut self, state: &Purchase, event: &Happened, today: String) {
        let order = state.order().unwrap();
        match event {
            Happened::PurchaseCompleted { .. } => {
                let day = order.occurred_at.date_naive().to_string();
                let kinds: std::collections::BTreeSet<_> =
                    order.tenders.iter().map(Tender::kind).collect();
                for kind in kinds {
                    self.takings.entry((day.clone(), kind.to_owned())).or_default()[0] += 1;
                }
                for tender in &order.tenders {
                    let sums = self.takings.entry((day.clone(), tender.kind().to_owned()));
                    let sums = sums.or_default();
                    sums[1] += tender.money().get();
                    if let Tender::Points { points, .. } = tender {
                        sums[3] += points.get();
                    }
                }
            }
            Happened::PurchaseRefunded { parts, .. } => {
                for part in parts {
                    let tender = &order.tenders[usize::try_from(part.tender).unwrap() - 1];
                    let sums = self.takings.entry((today.clone(), tender.kind().to_owned()));
                    let sums = sums.or_default();
                    sums[2] += part.money.get();
                    sums[4] += part.points.get();
                }
            }
            _ => {}
        }
    }
}

async fn compare(world: &World, conn: &mut PgConnection, about: &str) -> Folded {
    let folded = folded(world).await;
    let all = orders::page(conn, "default", orders::Filter::default(), 500).await.unwrap();
    assert_eq!(json!(all), json!(folded.orders), "{about}");
    let now = world.clock.now();
    let open = sagas::page(conn, "default", None, None, 500, now).await.unwrap();
    assert!(open.is_sorted_by_key(|it| (it.since, it.saga.clone())), "{about}");
    assert_eq!(open.len(), folded.sagas.len(), "{about}");
    for saga in &open {
        assert_eq!(json!(saga), folded.sagas[&saga.saga], "{about}");
        assert!(saga.state != "stuck" || saga.detail.is_some(), "{about}: {saga:?}");
        let one = sagas::by_name(conn, "default", &saga.saga, now).await.unwrap();
        assert_eq!(one.as_ref(), Some(saga), "{about}");
    }
    let counts = sagas::count(conn).await.unwrap();
    for (state, count) in counts {
        let of = open.iter().filter(|it| it.state == state.as_str()).count();
        assert_eq!(i64::try_from(of).unwrap(), count, "{about}, {state:?}");
    }
    let range = takings::Range::default();
    let lines = takings::page(conn, "default", range, None, 500).await.unwrap();
    let lines: BTreeMap<_, _> = lines
        .into_iter()
        .map(|it| {
            let sums = [it.sales, it.taken, it.returned, it.points_taken, it.points_returned];
            ((it.day.to_string(), it.tender), sums)
        })
        .collect();
    assert_eq!(lines, folded.takings, "{about}");
    folded
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_equal_the_purchases_whatever_has_happened_to_them() {
    let mut states = BTreeMap::<String, usize>::new();
    let (mut sums, mut discounts) = ([0; 5], 0);
    for seed in 1..=3 {
        let mut world = World::new().await;
        world.open_shop("default").await;
        let started = world.follow().await;
        let mut conn = world.connect().await;
        for round in 0..12 {
            world.buy(seed * 100 + round, 40).await;
            caught_up(&world, &started.views).await;
            let seen = compare(&world, &mut conn, &format!("seed {seed}, round {round}")).await;
            for order in &seen.orders {
                *states.entry(order["state"].as_str().unwrap().to_owned()).or_default() += 1;
                discounts += order["discount"].as_i64().unwrap();
            }
            for saga in seen.sagas.values() {
                let state = format!("saga {}", saga["state"].as_str().unwrap());
                *states.entry(state).or_default() += 1;
            }
            for day in seen.takings.values() {
                sums.iter_mut().zip(day).for_each(|(sum, it)| *sum += it);
            }
        }
        for model in MODELS {
            let rows = dump(&mut conn, model.tables).await;
            assert!(rows.iter().all(|row| !row.contains(TOKEN)), "{}", model.name);
        }
    }
    // The dice have shown everything.
    for state in ["running", "waiting", "stuck", "completed", "rejected", "refunded"] {
        assert!(states.contains_key(state), "{state}: {states:?}");
    }
    for state in ["saga running", "saga waiting", "saga stuck"] {
        assert!(states.contains_key(state), "{state}: {states:?}");
    }
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
    assert!(discounts > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_is_there_while_something_is_left_to_do_and_says_what_is_wrong() {
    let mut world = World::new().await;
    world.open_shop("default").await;
    let web = world.web().await;
    let placed = order(None, 2, vec![card()]);
    let mut position = world.act(purchase("o", placed)).await.unwrap().position;
    let path = |position: i64| format!("/v1/sagas/purchase:o?min_position={position}");
    let (_, begun) = web.json(&path(position)).await;
    assert_eq!(
        begun,
        json!({"saga": "purchase:o", "kind": "purchase", "id": "o", "state": "running",
               "step": "hold_stock", "way": "do", "attempts": 0, "since": "2026-03-01T00:00:00Z",
               "next_at": "2026-03-01T00:00:05Z", "age_seconds": 0, "position": position})
    );
    let authorise = || there(Step::AuthoriseCard);
    let until = hour(0) + TimeDelta::seconds(30);
    let delay = |turn, retry_at| Command::Delay {
        turn,
        effect: Effect::None,
        detail: "the provider is away".to_owned(),
        retry_at,
    };
    for command in [
        done(there(Step::HoldStock)),
        Command::Start { turn: authorise(), until },
        delay(authorise(), Some(until)),
    ] {
        position = world.act(purchase("o", command)).await.unwrap().position;
    }
    world.clock.set(hour(0) + TimeDelta::seconds(7));
    let (_, waiting) = web.json(&path(position)).await;
    assert_eq!(
        (&waiting["state"], &waiting["attempts"], &waiting["detail"], &waiting["next_at"]),
        (
            &json!("waiting"),
            &json!(1),
            &json!("the provider is away"),
            &json!("2026-03-01T00:00:30Z")
        )
    );
    assert_eq!(waiting["age_seconds"], 7);
    let (_, it) = web.json("/v1/purchases/o").await;
    assert_eq!(
        it["open"],
        json!({"state": "waiting", "step": "authorise_card", "way": "do", "attempts": 1,
               "detail": "the provider is away", "next_at": "2026-03-01T00:00:30Z",
               "deadline": "2026-03-01T00:15:00Z"})
    );
    for step in [Step::AuthoriseCard, Step::CaptureCard, Step::Settle] {
        position = world.act(purchase("o", done(there(step)))).await.unwrap().position;
    }
    let (status, over) = web.json(&path(position)).await;
    assert_eq!((status, &over["type"]), (StatusCode::NOT_FOUND, &json!("/problems/unknown-saga")));

    world.clock.set(hour(5));
    let all = refund("r", Portion::All { restock: false });
    let stuck = delay(of_refund(Step::RefundCard, "r"), None);
    for command in [all, stuck] {
        position = world.act(purchase("o", command)).await.unwrap().position;
    }
    world.clock.set(hour(6));
    let (_, stuck) = web.json(&format!("/v1/sagas?state=stuck&min_position={position}")).await;
    assert_eq!(
        stuck["items"],
        json!([{"saga": "purchase:o", "kind": "purchase", "id": "o", "state": "stuck",
                "step": "refund_card", "way": "do", "attempts": 0,
                "since": "2026-03-01T05:00:00Z", "age_seconds": 3600,
                "detail": "the provider is away", "position": position}])
    );
    let (_, it) = web.json("/v1/purchases/o").await;
    let (open, refund) = (&it["open"], &it["refunds"][0]);
    assert_eq!((&open["state"], &refund["state"]), (&json!("stuck"), &json!("stuck")));
    assert_eq!((open.get("next_at"), &refund["detail"]), (None, &json!("the provider is away")));
    let (_, page) = web.json(&format!("/v1/purchases?state=stuck&min_position={position}")).await;
    assert_eq!(page["items"][0]["id"], "o");
    for state in ["running", "waiting"] {
        let (_, none) = web.json(&format!("/v1/sagas?state={state}")).await;
        assert_eq!(none["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_wallets_are_one_sale_and_points_are_counted_beside_their_worth() {
    let mut world = World::new().await;
    world.open_shop("default").await;
    let web = world.web().await;
    world.clock.set(hour(23));
    let tenders = vec![points(), wallet("v", Some(50)), wallet("w", None)];
    world.complete("o", order(Some("m"), 2, tenders)).await;
    world.clock.set(hour(25));
    let half = refund("r", Portion::Amount(pence(90)));
    world.act(purchase("o", half)).await.unwrap();
    let position =
        world.act(purchase("o", done(of_refund(Step::SettleRefund, "r")))).await.unwrap().position;
    let (_, page) = web.json(&format!("/v1/takings?min_position={position}")).await;
    let line = |day: &str, tender: &str, [sales, taken, returned, points, back]: [i64; 5]| {
        json!({"day": day, "currency": "GBP", "tender": tender, "sales": sales, "taken": taken,
               "returned": returned, "points_taken": points, "points_returned": back})
    };
    let [first, second] = ["2026-03-01", "2026-03-02"];
    let lines = [
        line(first, "points", [1, 10, 0, 5, 0]),
        line(first, "wallet", [1, 170, 0, 0, 0]),
        line(second, "points", [0, 0, 5, 0, 2]),
        line(second, "wallet", [0, 0, 85, 0, 0]),
    ];
    assert_eq!(page["items"], json!(lines));
    for (query, from, to) in [
        ("from=2026-03-02", 2, 4),
        ("to=2026-03-01", 0, 2),
        ("from=2026-03-01&to=2026-03-02", 0, 4),
        ("from=2026-03-03", 4, 4),
        ("to=2026-02-28", 0, 0),
    ] {
        let (_, page) = web.json(&format!("/v1/takings?{query}")).await;
        assert_eq!(page["items"], json!(lines[from..to]), "{query}");
    }
}

#[test]
fn who_changes_the_state_of_a_purchase_raises_the_versions_of_models_that_keep_it() {
    let shape = State::shape(Kind::Purchase);
    let shape: String = shape.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let known = (&*shape, orders::MODEL.version, sagas::MODEL.version);
    // Another shape: change it here, and raise both.
    assert_eq!(known, ("2e1552b7", 5, 5));
}
