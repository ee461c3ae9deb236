//! Banks: a few accounts whose balances always add up to the same, and transfers between them in transactions.

use super::Caller;
use crate::request::{Outcome, Pair, Request, Step, Transact};
use crate::shared::Shared;
use std::sync::Arc;

const ACCOUNTS: u64 = 4;
pub(crate) const BALANCE_AT_FIRST: i64 = 100;

/// One client, until clients are to stop.
pub async fn transfer(shared: Arc<Shared>, number: usize) {
    let who = shared.recorder.new_client();
    let mut caller = Caller::new(shared, who, &format!("transferrer {number}"));
    while !caller.stopping() {
        let bank = format!("b/{:06}/", caller.era());
        one_transfer(&mut caller, &bank).await;
        caller.rest().await;
    }
}

fn account(bank: &str, number: u64) -> String {
    format!("{bank}{number}")
}

/// The bank of an account, if the key is of one.
pub(crate) fn bank_of(key: &str) -> Option<&str> {
    key.starts_with("b/").then(|| key.rsplit_once('/')).flatten().map(|(bank, _)| bank)
}

/// What an account's value says is on it.
pub(crate) fn balance_of(value: &str) -> Option<i64> {
    value.split_once(' ')?.0.parse().ok()
}

async fn one_transfer(caller: &mut Caller, bank: &str) {
    let all: Vec<String> = (0..ACCOUNTS).map(|number| account(bank, number)).collect();
    let gets = all.iter().cloned().map(Step::Get).collect();
    let read = Request::Transact(Transact { then: gets, ..Transact::default() });
    let Some(Outcome::Done(answer)) = caller.ask(read).await else { return };
    let balances: Vec<Option<&Pair>> = answer.found.iter().map(Option::as_ref).collect();
    if balances.iter().all(Option::is_none) {
        found_bank(caller, &all).await;
        return;
    }
    let from = caller.chance.below(ACCOUNTS) as usize;
    let to = (from + 1 + caller.chance.below(ACCOUNTS - 1) as usize) % ACCOUNTS as usize;
    let (Some(Some(of_from)), Some(Some(of_to))) = (balances.get(from), balances.get(to)) else { return };
    let (Some(had), Some(has)) = (balance_of(&of_from.value), balance_of(&of_to.value)) else { return };
    let amount = caller.chance.between(1, 20) as i64;
    let value = caller.new_value();
    let transact = Transact {
        compares: vec![(all[from].clone(), Some(of_from.value.clone())), (all[to].clone(), Some(of_to.value.clone()))],
        then: vec![
            Step::Put(all[from].clone(), format!("{} a{value}", had - amount)),
            Step::Put(all[to].clone(), format!("{} b{value}", has + amount)),
        ],
        otherwise: vec![Step::Get(all[from].clone()), Step::Get(all[to].clone())],
    };
    caller.ask(Request::Transact(transact)).await;
}

/// All accounts at one instant, if there is none.
async fn found_bank(caller: &mut Caller, accounts: &[String]) {
    let value = caller.new_value();
    let put = |(number, account): (usize, &String)| {
        Step::Put(account.clone(), format!("{BALANCE_AT_FIRST} {number}.{value}"))
    };
    let transact = Transact {
        compares: vec![(accounts[0].clone(), None)],
        then: accounts.iter().enumerate().map(put).collect(),
        otherwise: Vec::new(),
    };
    caller.ask(Request::Transact(transact)).await;
}
