use std::fmt::Write;

use accrue_domain::aggregate::Kind;
use accrue_domain::campaign;
use accrue_domain::money::{Currency, Minor, Money};
use accrue_event_store::record::{Decoded, Row};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::*;

/// A log in short: what follows from each event, one line each.
#[derive(Default)]
struct Story {
    campaigns: Campaigns,
    position: Position,
    told: String,
}

impl Story {
    fn campaign(&mut self, id: &str, event: campaign::Event) {
        self.happens("default", Kind::Campaign, id, Event::Campaign(event));
    }

    fn active(&mut self, id: &str, rules: Value) {
        let name = id.to_owned();
        self.campaign(id, campaign::Event::CampaignCreated { name, version: 1, rules });
        self.campaign(id, campaign::Event::CampaignActivated {});
    }

    fn sale(&mut self, program: &str, id: &str, account: Option<&str>, pence: i64) {
        let event = sale::Event::SaleRecorded {
            account: account.map(|id| AccountId::new(id).unwrap()),
            total: Money { amount: Minor::new(pence).unwrap(), currency: Currency::GBP },
            lines: Vec::new(),
            occurred_at: DateTime::from_timestamp(1_291_191_960, 0).unwrap(),
            reference: None,
        };
        self.happens(program, Kind::Sale, id, Event::Sale(event));
    }

    fn back(&mut self, id: &str, account: Option<&str>, returned: i64, total: i64) {
        let event = sale::Event::SaleReturned {
            return_id: ReturnId::new("r1").unwrap(),
            account: account.map(|id| AccountId::new(id).unwrap()),
            amount: Money { amount: Minor::new(returned).unwrap(), currency: Currency::GBP },
            returned: Minor::new(returned).unwrap(),
            total: Minor::new(total).unwrap(),
            lines: Vec::new(),
            reference: None,
        };
        self.happens("default", Kind::Sale, id, Event::Sale(event));
    }

    fn happens(&mut self, program: &str, kind: Kind, id: &str, event: Event) {
        self.position += 1;
        let recorded = recorded(self.position, program, kind, id, event);
        if let (Some(stream), [Event::Campaign(event)]) = (&recorded.stream, recorded.events()) {
            self.campaigns.evolve(stream, recorded.position, event);
        }
        let plan = plan(&self.campaigns, &recorded).unwrap();
        for planned in plan.commands {
            let envelope = planned.envelope();
            writeln!(self.told, "{} {:?}", envelope.id, envelope.actions).unwrap();
        }
        for skip in plan.skips {
            let Skip { campaign, version, rule, reason, detail, position, .. } = skip;
            let text =
                format!("{position}: {campaign} v{version} rule {rule:?} {reason}: {detail}");
            writeln!(self.told, "skip {text}").unwrap();
        }
    }
}

fn recorded(position: Position, program: &str, kind: Kind, id: &str, event: Event) -> Recorded {
    let stream = StreamKey::new(kind, &ProgramId::new(program).unwrap(), id);
    Recorded {
        position,
        sequence: 1,
        row: Arc::new(Row {
            program: program.into(),
            aggregate_type: kind.as_str().into(),
            aggregate_id: Arc::clone(stream.aggregate_id()),
            event_type: event.name().0.into(),
            event_version: "1".into(),
            payload: serde_json::to_string(&event).unwrap(),
            metadata: json!({"command_id": "till-1", "occurred_at": "2011-01-01T00:00:00Z"})
                .to_string(),
            recorded_at: DateTime::UNIX_EPOCH,
        }),
        stream: Some(stream),
        decoded: Ok(Decoded::One(event)),
    }
}

fn rule(more_than: i64, formula: &str) -> Value {
    json!({
        "variable": "$.amount",
        "condition": {"rule": "numeric_greater_than", "value": more_than},
        "action": {"command": "issue", "formula": formula},
    })
}

#[test]
fn a_sale_is_judged_by_every_active_campaign_of_its_program() {
    let mut story = Story::default();
    story.active("tenth", json!([rule(100, "$.amount/10"), rule(0, "1")]));
    story.active("flat", json!([rule(0, "5")]));
    story.sale("default", "s1", Some("a"), 13_912);
    story.sale("default", "s2", Some("a"), 10_000);
    story.sale("default", "anonymous", None, 13_912);
    story.sale("other", "s1", Some("a"), 13_912);
    assert_snapshot!(story.told, @r#"
    award/default/flat/5 [Account("a", Issue(Issue { lot: Some("award:flat.5"), points: Amount(5), available_from: None, expires: None, source: Campaign { campaign: "flat", version: 1, event: 5, sale: Some("s1") }, reference: None }))]
    award/default/tenth/5 [Account("a", Issue(Issue { lot: Some("award:tenth.5"), points: Amount(14), available_from: None, expires: None, source: Campaign { campaign: "tenth", version: 1, event: 5, sale: Some("s1") }, reference: None }))]
    award/default/flat/6 [Account("a", Issue(Issue { lot: Some("award:flat.6"), points: Amount(5), available_from: None, expires: None, source: Campaign { campaign: "flat", version: 1, event: 6, sale: Some("s2") }, reference: None }))]
    award/default/tenth/6 [Account("a", Issue(Issue { lot: Some("award:tenth.6"), points: Amount(1), available_from: None, expires: None, source: Campaign { campaign: "tenth", version: 1, event: 6, sale: Some("s2") }, reference: None }))]
    "#);
}

#[test]
fn a_sale_is_judged_by_the_version_in_force_at_its_position() {
    let mut story = Story::default();
    let rules = json!([rule(0, "1")]);
    let name = "c".to_owned();
    story.campaign("c", campaign::Event::CampaignCreated { name, version: 1, rules });
    story.sale("default", "draft", Some("a"), 100);
    story.campaign("c", campaign::Event::CampaignActivated {});
    story.sale("default", "first", Some("a"), 100);
    let rules = json!([rule(0, "2")]);
    story.campaign("c", campaign::Event::CampaignRulesReplaced { version: 2, rules });
    story.sale("default", "second", Some("a"), 100);
    story.campaign("c", campaign::Event::CampaignPaused {});
    story.sale("default", "paused", Some("a"), 100);
    story.campaign("c", campaign::Event::CampaignActivated {});
    story.sale("default", "again", Some("a"), 100);
    story.campaign("c", campaign::Event::CampaignRetired {});
    story.sale("default", "retired", Some("a"), 100);
    assert_snapshot!(story.told, @r#"
    award/default/c/4 [Account("a", Issue(Issue { lot: Some("award:c.4"), points: Amount(1), available_from: None, expires: None, source: Campaign { campaign: "c", version: 1, event: 4, sale: Some("first") }, reference: None }))]
    award/default/c/6 [Account("a", Issue(Issue { lot: Some("award:c.6"), points: Amount(2), available_from: None, expires: None, source: Campaign { campaign: "c", version: 2, event: 6, sale: Some("second") }, reference: None }))]
    award/default/c/10 [Account("a", Issue(Issue { lot: Some("award:c.10"), points: Amount(2), available_from: None, expires: None, source: Campaign { campaign: "c", version: 2, event: 10, sale: Some("again") }, reference: None }))]
    "#);
}

#[test]
fn what_cannot_be_judged_is_skipped_and_stops_nothing() {
    let mut story = Story::default();
    story.active("bad", json!([{"nonsense": true}]));
    story.active("holes", json!([rule(0, "$.weight"), rule(0, "100/($.amount-1)"), rule(0, "3")]));
    story.active("huge", json!([rule(0, "1000000000000"), rule(0, "1")]));
    story.active("well", json!([rule(0, "4")]));
    story.sale("default", "s1", Some("a"), 100);
    assert_snapshot!(story.told, @r#"
    award/default/holes/9 [Account("a", Issue(Issue { lot: Some("award:holes.9"), points: Amount(3), available_from: None, expires: None, source: Campaign { campaign: "holes", version: 1, event: 9, sale: Some("s1") }, reference: None }))]
    award/default/well/9 [Account("a", Issue(Issue { lot: Some("award:well.9"), points: Amount(4), available_from: None, expires: None, source: Campaign { campaign: "well", version: 1, event: 9, sale: Some("s1") }, reference: None }))]
    skip 9: bad v1 rule None rules_do_not_compile: /0/nonsense: unknown field, expected one of name, variable, condition, all, action, round
    skip 9: holes v1 rule Some(0) missing_value: $.weight selects nothing
    skip 9: holes v1 rule Some(1) division_by_zero: 100 / 0
    skip 9: huge v1 rule None too_many_points: more than 1000000000000 points for one event
    "#);
}

#[test]
fn a_return_takes_its_share_back_and_all_of_what_cost_nothing() {
    let mut story = Story::default();
    story.back("s1", Some("a"), 500, 1_000);
    story.back("s2", None, 500, 1_000);
    story.back("free", Some("a"), 0, 0);
    assert_snapshot!(story.told, @r#"
    return/default/s1/1 [Account("a", ReverseSale { sale: "s1", return_id: "r1", returned: 500, total: 1000 })]
    return/default/free/3 [Account("a", ReverseSale { sale: "free", return_id: "r1", returned: 1, total: 1 })]
    "#);
}

#[test]
fn a_lot_has_a_name_of_its_own_however_long_the_ids_are() {
    let mut story = Story::default();
    story.active(&"c".repeat(100), json!([rule(0, "1")]));
    story.sale("default", &"s".repeat(100), Some(&"a".repeat(100)), 100);
    story.back(&"s".repeat(100), Some(&"a".repeat(100)), 1, 100);
    let told = story.told.replace(&"c".repeat(100), "C").replace(&"s".repeat(100), "S");
    assert_snapshot!(told.replace(&"a".repeat(100), "A"), @r#"
    award/default/C/3 [Account("A", Issue(Issue { lot: Some("award:73dbc99d-11e7-5902-8dbd-876e8bcf3643"), points: Amount(1), available_from: None, expires: None, source: Campaign { campaign: "C", version: 1, event: 3, sale: Some("S") }, reference: None }))]
    return/default/S/4 [Account("A", ReverseSale { sale: "S", return_id: "r1", returned: 1, total: 100 })]
    "#);
}

#[test]
fn a_command_says_what_caused_it_and_is_the_same_again() {
    let sale = || {
        let mut story = Story::default();
        story.active("c", json!([rule(0, "1")]));
        let mut events = accrue_domain::samples::events().into_iter();
        let event = events.find(|event| event.name().0 == "SaleRecorded").unwrap();
        let recorded = recorded(9, "default", Kind::Sale, "536365", event);
        plan(&story.campaigns, &recorded).unwrap().commands.remove(0).envelope()
    };
    assert_eq!(format!("{:?}", sale()), format!("{:?}", sale()));
    let Envelope { fingerprint, occurred_at, correlation_id, causation_id, actor, .. } = sale();
    assert!(fingerprint.is_some());
    assert_snapshot!(
        format!("{occurred_at:?} {correlation_id:?} {causation_id:?} {actor:?}"),
        @r#"Some(2010-12-01T08:26:00Z) Some("till-1") Some("event/9") Some("accrue/awards")"#
    );
}

#[test]
fn a_sale_is_judged_by_what_the_campaign_was_at_its_position_whatever_is_known_of_it_since() {
    let mut story = Story::default();
    story.active("c", json!([rule(0, "1")]));
    story.campaign(
        "c",
        campaign::Event::CampaignRulesReplaced { version: 2, rules: json!([rule(0, "2")]) },
    );
    story.campaign("c", campaign::Event::CampaignPaused {});
    // Positions 1 to 4 are the campaign's; sales come later, from in between, and from before.
    let mut events = accrue_domain::samples::events().into_iter();
    let sale = events.find(|event| event.name().0 == "SaleRecorded").unwrap();
    let given = |position| {
        let recorded = recorded(position, "default", Kind::Sale, "536365", sale.clone());
        let commands = plan(&story.campaigns, &recorded).unwrap().commands;
        commands.iter().map(|it| format!("{:?}", it.task)).collect::<Vec<_>>()
    };
    assert_eq!((given(5).len(), given(2).len(), given(1).len()), (0, 0, 0));
    assert!(given(3)[0].contains("version: 1, points: Amount(1)"), "{:?}", given(3));
    assert!(given(4)[0].contains("version: 2, points: Amount(2)"), "{:?}", given(4));
}
