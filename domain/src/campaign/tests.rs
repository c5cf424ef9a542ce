//! Given, when, then.

use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::id::CommandId;
use crate::program::Settings;

fn run(given: &[Command], when: Command) -> String {
    let mut campaign = Campaign::default();
    for command in given {
        let events = decide(&campaign, command.clone()).unwrap();
        events.iter().for_each(|event| campaign.evolve(event));
    }
    match decide(&campaign, when) {
        Ok(events) => format!("{events:?}"),
        Err(error) => format!("{} {:?} {:?}", error.code(), error.kind(), error.field()),
    }
}

fn decide(campaign: &Campaign, command: Command) -> Result<Vec<Event>, Error> {
    let command_id = CommandId::new("c").unwrap();
    let (now, settings) = (chrono::DateTime::UNIX_EPOCH, Settings::default());
    let context = Context { now, occurred_at: now, command_id: &command_id, settings: &settings };
    campaign.decide(command, &context)
}

fn create(activate: bool) -> Command {
    Command::Create { name: "Tenth".into(), rules: json!([1]), activate }
}

fn replace(rules: i32) -> Command {
    Command::ReplaceRules { rules: json!([rules]) }
}

use Command::{Activate, Pause, Retire};

#[test]
fn a_campaign_is_created_once() {
    assert_snapshot!(run(&[], create(false)), @r#"[CampaignCreated { name: "Tenth", version: 1, rules: Array [Number(1)] }]"#);
    assert_snapshot!(run(&[], create(true)), @r#"[CampaignCreated { name: "Tenth", version: 1, rules: Array [Number(1)] }, CampaignActivated]"#);
    assert_snapshot!(run(&[create(false)], create(false)), @"[]");
    assert_snapshot!(run(&[create(true)], create(true)), @"[]");
    assert_snapshot!(run(&[create(true)], create(false)), @"[]");
    assert_snapshot!(run(&[create(true), Pause], create(true)), @"[]");
    assert_snapshot!(run(&[create(false)], create(true)), @"[CampaignActivated]");
    let other = |name: &str, rules| Command::Create { name: name.into(), rules, activate: false };
    assert_snapshot!(run(&[create(false)], other("Tenth", json!([2]))), @"campaign-exists Conflict None");
    assert_snapshot!(run(&[create(false)], other("Fifth", json!([1]))), @"campaign-exists Conflict None");
    assert_snapshot!(run(&[], other("", json!([1]))), @r#"invalid-text Invalid Some("/name")"#);
    assert_snapshot!(run(&[], other(&"x".repeat(201), json!([1]))), @r#"invalid-text Invalid Some("/name")"#);
}

#[test]
fn an_edit_makes_a_new_version() {
    assert_snapshot!(run(&[create(false)], replace(2)), @"[CampaignRulesReplaced { version: 2, rules: Array [Number(2)] }]");
    assert_snapshot!(run(&[create(false), replace(2)], replace(1)), @"[CampaignRulesReplaced { version: 3, rules: Array [Number(1)] }]");
    assert_snapshot!(run(&[create(false), replace(2)], replace(2)), @"[]");
}

#[test]
fn a_campaign_is_activated_and_paused() {
    assert_snapshot!(run(&[create(false)], Activate), @"[CampaignActivated]");
    assert_snapshot!(run(&[create(false), Activate], Activate), @"[]");
    assert_snapshot!(run(&[create(true)], Pause), @"[CampaignPaused]");
    assert_snapshot!(run(&[create(true), Pause], Pause), @"[]");
    assert_snapshot!(run(&[create(true), Pause], Activate), @"[CampaignActivated]");
    assert_snapshot!(run(&[create(false)], Pause), @"campaign-not-active Conflict None");
}

#[test]
fn a_retired_campaign_refuses_everything_but_its_end() {
    assert_snapshot!(run(&[create(true)], Retire), @"[CampaignRetired]");
    assert_snapshot!(run(&[create(true), Retire], Retire), @"[]");
    for command in [create(true), replace(2), Activate, Pause] {
        let told = run(&[create(true), Retire], command);
        assert_eq!(told, "campaign-retired Conflict None");
    }
}

#[test]
fn a_campaign_that_was_never_created_is_unknown() {
    for command in [replace(2), Activate, Pause, Retire] {
        assert_eq!(run(&[], command), "unknown-campaign NotFound None");
    }
}

#[test]
fn versions_can_run_out() {
    let full = Campaign { name: "n".into(), version: u32::MAX, ..Campaign::default() };
    assert_eq!(decide(&full, replace(2)), Err(Error::LimitExceeded));
}
