//! `balances` says what the account itself would say, at any time.

use accrue_domain::account::command::{Command, Issue};
use accrue_domain::aggregate::Kind;
use accrue_domain::expiry::Policy;
use accrue_domain::id::{HoldId, LotId, ProgramId};
use accrue_event_store::clock::Clock as _;
use accrue_event_store::stream::StreamKey;
use accrue_projections::models::balances::{self, Balance, LotKey};
use accrue_projections::verify::verify;
use chrono::{DateTime, TimeDelta, Utc};

use crate::harness::{World, amount, caught_up, hour, issue};

fn shown(balance: &Balance) -> String {
    serde_json::to_string(balance).unwrap()
}

/// An account's lots, so many a page, from the rows and from the fold.
async fn paged(world: &World, id: &str, at: DateTime<Utc>, limit: i64) -> [Vec<String>; 2] {
    let mut conn = world.connect().await;
    let codec = world.ledger.codec();
    let stream = StreamKey::new(Kind::Account, &ProgramId::default(), id);
    let mut both = [Vec::new(), Vec::new()];
    for (fold, all) in both.iter_mut().enumerate() {
        let mut after = None;
        loop {
            let page = if fold == 0 {
                balances::lots(&mut conn, ("default", id), after, limit, at).await
            } else {
                balances::lots_at(&mut conn, codec, &stream, after, limit, at).await
            };
            let page = page.unwrap().unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            assert_ne!(after, Some(last.key()), "it goes on");
            // As a client has it.
            after = LotKey::parse(&last.key().text());
            assert_eq!(after, Some(last.key()));
            all.extend(page.iter().map(|lot| serde_json::to_string(lot).unwrap()));
        }
    }
    both
}

async fn as_the_fold(world: &World, id: &str, at: DateTime<Utc>) -> Balance {
    let mut conn = world.connect().await;
    let stream = StreamKey::new(Kind::Account, &ProgramId::default(), id);
    let codec = world.ledger.codec();
    let fold = balances::at(&mut conn, codec, &stream, at).await.unwrap().unwrap();
    let read = balances::by_account(&mut conn, "default", id, at).await.unwrap().unwrap();
    assert_eq!(shown(&read), shown(&fold), "{id} at {at}");
    let [rows, folded] = paged(world, id, at, 70).await;
    assert_eq!(rows, folded, "lots of {id} at {at}");
    let first: Vec<_> = read.lots.iter().map(|lot| serde_json::to_string(lot).unwrap()).collect();
    assert_eq!(rows[..first.len()], first[..], "{id} at {at}");
    assert_eq!(read.lots_more, rows.len() > first.len(), "{id} at {at}");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_settled_at_any_time_equal_the_account_settled_then() {
    for seed in 1..=3 {
        let mut world = World::new().await;
        let started = world.follow().await;
        world.live(seed, 250).await;
        caught_up(&world, &started.views).await;
        let mut conn = world.connect().await;
        let now = world.clock.now();
        for hours in [0, 1, 5, 20, 48, 100] {
            let at = now + TimeDelta::hours(hours);
            for member in 0..4 {
                let id = format!("member-{member}");
                let fold = as_the_fold(&world, &id, at).await;
                let [rows, folded] = paged(&world, &id, at, 2).await;
                assert_eq!(rows, folded, "seed {seed}, {id}, {hours} h on");
                let page = balances::page(&mut conn, "default", "", 10, at).await.unwrap();
                let line = page.iter().find(|it| it.account == id).unwrap();
                assert_eq!(
                    (line.available, line.pending, line.held, line.debt),
                    (fold.available, fold.pending, fold.held, fold.debt),
                    "seed {seed}, {id} in the list, {hours} h on"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_lots_than_an_answer_shows_the_sums_are_still_those_of_all() {
    let mut world = World::new().await;
    let started = world.follow().await;
    for lot in 0..260_i64 {
        let expires = Policy::At(hour(30 + lot % 50));
        let available_from = (lot % 3 == 0).then(|| hour(1 + lot % 20));
        let lot =
            Issue { available_from, expires: Some(expires), ..issue(&format!("lot-{lot}"), 7) };
        world.to("a", Command::Issue(lot)).await;
    }
    world.clock.set(hour(25));
    for (hold, until) in [("short", hour(28)), ("long", hour(70))] {
        let hold = HoldId::new(hold).unwrap();
        let (points, until) = (amount(300), Some(until));
        world.to("a", Command::PlaceHold { hold, points, until, reference: None }).await;
    }
    caught_up(&world, &started.views).await;
    for at in [25, 27, 28, 29, 30, 39, 55, 69, 70, 79, 80] {
        as_the_fold(&world, "a", hour(at)).await;
    }
    let read = as_the_fold(&world, "a", hour(25)).await;
    assert!(read.lots_more && read.lots.len() == 100);
    assert!(read.expiring_more && read.expiring.len() == 12);
    assert_eq!(read.lots.iter().filter(|lot| lot.remaining == 0).count(), 85, "pinned whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lot_that_a_hold_pins_is_shown_also_when_nothing_else_of_it_is_left() {
    let mut world = World::new().await;
    let started = world.follow().await;
    let lapsing = Issue { expires: Some(Policy::At(hour(30))), ..issue("lapsing", 5) };
    world.to("a", Command::Issue(lapsing)).await;
    world.to("a", Command::Issue(issue("plain", 2))).await;
    let hold = HoldId::new("h").unwrap();
    let place = Command::PlaceHold { hold, points: amount(4), until: None, reference: None };
    world.to("a", place).await;
    caught_up(&world, &started.views).await;
    for (hours, shown, expiring) in [
        (1, [("lapsing", 1, 4), ("plain", 2, 0)], 1),
        (30, [("lapsing", 0, 4), ("plain", 2, 0)], 0),
    ] {
        let read = as_the_fold(&world, "a", hour(hours)).await;
        let lots: Vec<_> =
            read.lots.iter().map(|it| (it.lot.as_str(), it.remaining, it.held)).collect();
        assert_eq!(lots, shown, "{hours} h");
        assert_eq!(read.held, 4);
        assert_eq!(read.expiring.iter().map(|it| it.points).sum::<i64>(), expiring, "{hours} h");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_debt_takes_of_many_lots_is_taken_in_their_order() {
    let mut world = World::new().await;
    let started = world.follow().await;
    for lot in 0..150_i64 {
        // As close to each other as times can be: a cursor must tell them apart.
        let expires = Some(Policy::At(hour(40 + lot % 20) + TimeDelta::microseconds(lot)));
        world.to("a", Command::Issue(Issue { expires, ..issue(&format!("lot-{lot}"), 2) })).await;
    }
    let hold = HoldId::new("all").unwrap();
    let until = Some(hour(28));
    world.to("a", Command::PlaceHold { hold, points: amount(300), until, reference: None }).await;
    for lot in 0..101 {
        let lot = LotId::new(&format!("lot-{lot}")).unwrap();
        world.to("a", Command::Reverse { lot, points: None, reference: None }).await;
    }
    caught_up(&world, &started.views).await;
    assert_eq!(as_the_fold(&world, "a", hour(27)).await.debt, 202);
    let read = as_the_fold(&world, "a", hour(28)).await;
    assert_eq!((read.available, read.debt, read.held), (98, 0, 0));
    assert_eq!(read.lots.len(), 49);
    assert_eq!((read.expiring.len(), read.expiring_more), (12, true));
    assert!(read.expiring.iter().all(|it| it.points == 2));
    as_the_fold(&world, "a", hour(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_captured_hold_spent_comes_back_to_its_lots_or_as_a_lot_of_grace() {
    let mut world = World::new().await;
    let started = world.follow().await;
    let lapsing = Issue { expires: Some(Policy::At(hour(30))), ..issue("lapsing", 5) };
    world.to("a", Command::Issue(lapsing)).await;
    world.to("a", Command::Issue(issue("plain", 2))).await;
    let hold = || HoldId::new("h").unwrap();
    let place =
        Command::PlaceHold { hold: hold(), points: amount(7), until: None, reference: None };
    world.to("a", place).await;
    world.to("a", Command::CaptureHold { hold: hold(), points: None, reference: None }).await;
    let restore = |points| Command::RestoreHold {
        hold: hold(),
        points: amount(points),
        spent: None,
        reference: None,
    };
    let mut conn = world.connect().await;
    let mut lots = Vec::new();
    // Nothing is left; then both lots get some back; then one of them has lapsed.
    for (hours, points) in [(1, None), (2, Some(3)), (30, Some(4))] {
        world.clock.set(hour(hours));
        if let Some(points) = points {
            world.to("a", restore(points)).await;
        }
        caught_up(&world, &started.views).await;
        for at in [hour(hours), hour(hours + 20), hour(hours + 31 * 24)] {
            as_the_fold(&world, "a", at).await;
        }
        let read = balances::by_account(&mut conn, "default", "a", hour(hours)).await.unwrap();
        let of_each = read.unwrap().lots.into_iter().map(|it| {
            let source: serde_json::Value = serde_json::from_str(it.source.get()).unwrap();
            format!("{} {} {}", it.lot, it.remaining, source["kind"].as_str().unwrap())
        });
        lots.push(of_each.collect::<Vec<_>>().join(", "));
    }
    assert_eq!(lots, ["", "lapsing 1 issue, plain 2 issue", "command-6 4 restored, plain 2 issue"]);
    let found =
        verify(&world.ledger.servers().current(), world.ledger.codec(), |_| {}).await.unwrap();
    assert_eq!(found, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_never_opened_is_not_there() {
    let mut world = World::new().await;
    let started = world.follow().await;
    world.to("a", Command::Issue(issue("lot", 5))).await;
    caught_up(&world, &started.views).await;
    let mut conn = world.connect().await;
    let now = world.clock.now();
    assert!(balances::by_account(&mut conn, "default", "b", now).await.unwrap().is_none());
    assert!(balances::by_account(&mut conn, "other", "a", now).await.unwrap().is_none());
}
