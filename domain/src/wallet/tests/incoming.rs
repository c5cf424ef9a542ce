//! Top up and refund: money that comes in.

use insta::assert_snapshot;

use super::purse::*;
use crate::money::Minor;
use crate::wallet::command::Command;

#[test]
fn money_that_comes_in_opens_the_wallet_a_balance_for_each_currency() {
    let mut purse = Purse::new();
    assert_snapshot!(purse.does(top_up(usd(330_000))), @"WalletToppedUp money=330000USD");
    assert_snapshot!(purse.does(top_up(jpy(500))), @"WalletToppedUp money=500JPY");
    assert_snapshot!(purse.does(refund(usd(1))), @"WalletRefunded money=1USD");
    assert_snapshot!(purse.has(), @"JPY 500 held 0, USD 330001 held 0");
    assert_snapshot!(Purse::new().does(refund(jpy(5))), @"WalletRefunded money=5JPY");
}

#[test]
fn without_money_there_is_no_wallet() {
    for command in [hold("h", usd(1), None), capture("h", None), release("h")] {
        let answer = Purse::new().does(command);
        assert_eq!(answer, "unknown-wallet - NotFound: there is no wallet of that id");
    }
    assert_eq!(Purse::new().does(Command::Settle), "nothing");
}

#[test]
fn nothing_is_no_amount() {
    let mut purse = Purse::with(5).did(hold("h", usd(1), None));
    let commands =
        [top_up(usd(0)), refund(usd(0)), hold("i", usd(0), None), capture("h", Some(usd(0)))];
    for command in commands {
        let answer = purse.does(command);
        assert_eq!(
            answer,
            "invalid-amount /money/amount Invalid: expected an amount of at least 1 minor unit"
        );
    }
}

#[test]
fn a_balance_has_a_limit_with_what_is_held() {
    let max = Minor::MAX.get();
    let mut purse = Purse::with(max - 1).did(hold("h", usd(7), None));
    assert_snapshot!(purse.does(top_up(usd(2))), @"limit-exceeded /money/amount Conflict: the balance would exceed the limit of 1000000000000000 minor units");
    assert_snapshot!(purse.does(refund(usd(2))), @"limit-exceeded /money/amount Conflict: the balance would exceed the limit of 1000000000000000 minor units");
    assert_snapshot!(purse.does(top_up(usd(1))), @"WalletToppedUp money=1USD");
    assert_snapshot!(purse.does(refund(jpy(max))), @"WalletRefunded money=1000000000000000JPY");
}

#[test]
fn a_note_is_kept_and_checked() {
    let noted = |note: &str| Command::TopUp { money: usd(5), reference: Some(note.to_owned()) };
    assert_snapshot!(Purse::new().does(noted("gift card")), @"WalletToppedUp money=5USD reference=gift card");
    assert_snapshot!(Purse::new().does(noted("")), @"invalid-text /reference Invalid: expected a text of 1 to 200 characters, got an empty one");
}
