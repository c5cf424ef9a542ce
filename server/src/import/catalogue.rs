//! What the lines of a file sold, as products of their own: `accrue demo` offers it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use accrue_domain::id::ProductId;
use accrue_domain::money::{Currency, Minor, Money};
use accrue_domain::{sale, text};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::lines::charges::USUAL;
use super::rows::Rows;
use super::send::{self, Chunks, Command, Target};
use super::{Charges, Format, Progress, Source, Tally, money};
use crate::client::{CallError, Client};

/// Products that are asked for at a time.
const QUESTIONS_AT_A_TIME: usize = 16;

/// Units of each product at the beginning: enough to play with.
const OPENING_UNITS: u32 = 1_000;

/// The columns of *Online Retail* that tell of a product.
const COLUMNS: [&str; 4] = ["StockCode", "Description", "Quantity", "UnitPrice"];

/// Products by their ids.
#[derive(Debug)]
pub(crate) struct Catalogue {
    currency: Currency,
    products: BTreeMap<ProductId, Product>,
}

/// How often a product was called what, and sold at which price.
#[derive(Debug, Default)]
struct Product {
    /// Where it was sold first.
    line: u64,
    names: BTreeMap<String, u32>,
    prices: BTreeMap<Minor, u32>,
}

/// What the ledger has of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It was created, and nothing else.
    Created,
    /// More happened to it; whatever that was, it stays.
    InUse,
}

impl Catalogue {
    /// Every code that is goods and was sold for money.
    pub(crate) fn read(file: &'static [u8], currency: Currency) -> Result<Self> {
        let charges: Charges = USUAL.parse()?;
        let columns = COLUMNS.map(|name| Some(name.to_owned()));
        let source = Source::BuiltIn(file).open()?;
        let mut rows = Rows::open(source, Format::Csv, b',', columns)?;
        let mut catalogue = Self { currency, products: BTreeMap::new() };
        while let Some(row) = rows.next()? {
            // The import of such a file says what is wrong with a row; here it sells nothing.
            let Ok(row) = row else { continue };
            let [code, name, quantity, price] = row.texts;
            let sold = quantity.parse::<i64>().is_ok_and(|units| units > 0);
            let price = money::amount(&price, 1, currency).ok().map(|it| it.amount);
            let price = price.filter(|it| sold && *it > Minor::ZERO);
            let goods = charges.kind(&code) == sale::LineKind::Goods;
            if let (Some(price), true, Ok(id)) = (price, goods, ProductId::new(&code)) {
                catalogue.add(id, row.line, name, price);
            }
        }
        Ok(catalogue)
    }

    fn add(&mut self, id: ProductId, line: u64, name: String, price: Minor) {
        let product = self.products.entry(id).or_default();
        if product.line == 0 {
            product.line = line;
        }
        if text::check(&name).is_ok() {
            *product.names.entry(name).or_default() += 1;
        }
        *product.prices.entry(price).or_default() += 1;
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.products.len()
    }

    /// Creates what is not there, with its opening stock. What somebody has changed since stays,
    /// and a start that was cut off is made good by the next.
    pub(crate) async fn offer(&self, client: &Client, retry_for: Duration) -> Result<Tally> {
        let progress = Progress::silent();
        let head = send::patient(retry_for, &progress, || client.head()).await?;
        let known = self.known(client).await?;
        let of = |wanted: &[Known]| -> Vec<(&ProductId, &Product)> {
            let wanted = |id: &ProductId| known.get(id).is_some_and(|it| wanted.contains(it));
            self.products.iter().filter(|(id, _)| wanted(id)).collect()
        };
        let created =
            of(&[Known::Nothing]).into_iter().filter_map(|(id, it)| it.created(id, self.currency));
        let stocked = of(&[Known::Nothing, Known::Created]).into_iter();
        let stocked = stocked.map(|(id, it)| it.stocked(id));
        let target = Target { client, progress: &progress, retry_for, head };
        let mut tally = Tally { position: head, ..Tally::default() };
        // One after the other: an adjustment of a product that is not there yet is refused.
        for commands in [created.collect::<Vec<_>>(), stocked.collect()] {
            deliver(target, commands, &mut tally).await?;
        }
        Ok(tally)
    }

    async fn known(&self, client: &Client) -> Result<BTreeMap<ProductId, Known>, CallError> {
        let ids: Vec<ProductId> = self.products.keys().cloned().collect();
        let of_one = |id: ProductId| async move {
            let found = client.find(&format!("/v1/products/{id}")).await?;
            Ok((id, Known::of(found.as_ref())))
        };
        let asked = stream::iter(ids).map(of_one).buffer_unordered(QUESTIONS_AT_A_TIME);
        asked.try_collect().await
    }
}

impl Known {
    fn of(product: Option<&Value>) -> Self {
        match product.map(|it| it["version"].as_i64()) {
            None => Self::Nothing,
            Some(Some(1)) => Self::Created,
            Some(_) => Self::InUse,
        }
    }
}

impl Product {
    fn created(&self, id: &ProductId, currency: Currency) -> Option<Command> {
        let price = Money { amount: *most_frequent(&self.prices)?, currency };
        let name = most_frequent(&self.names).map_or(id.as_str(), String::as_str);
        let envelope = json!({
            "id": format!("demo/product/{id}"),
            "type": "create_product",
            "product": id,
            "name": name,
            "kind": "goods",
            "price": price,
        });
        Some(Command { line: self.line, text: envelope.to_string() })
    }

    fn stocked(&self, id: &ProductId) -> Command {
        let envelope = json!({
            "id": format!("demo/stock/{id}"),
            "type": "adjust_stock",
            "product": id,
            "delta": OPENING_UNITS,
            "reason": "opening stock",
        });
        Command { line: self.line, text: envelope.to_string() }
    }
}

/// What came up most often; of several the first in their order.
fn most_frequent<T: Ord>(counted: &BTreeMap<T, u32>) -> Option<&T> {
    counted.iter().max_by_key(|(it, times)| (**times, Reverse(*it))).map(|(it, _)| it)
}

async fn deliver(target: Target<'_>, commands: Vec<Command>, tally: &mut Tally) -> Result<()> {
    let (chunks, read) = mpsc::channel(send::REQUESTS_AT_A_TIME);
    let reader = tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks::new(chunks);
        for command in commands {
            if chunks.push(Ok(command)).is_err() {
                return;
            }
        }
        chunks.end();
    });
    send::deliver_all(target, read, send::REQUESTS_AT_A_TIME, tally, |_| ()).await?;
    reader.await.context("the maker of the commands ended early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &'static str) -> Vec<String> {
        let catalogue = Catalogue::read(file.as_bytes(), Currency::GBP).unwrap();
        let products = catalogue.products.iter().map(|(id, it)| {
            let command = it.created(id, Currency::GBP).unwrap();
            let command: Value = serde_json::from_str(&command.text).unwrap();
            let name = command["name"].as_str().unwrap();
            format!("{}: {id} {name} {}", it.line, command["price"]["amount"])
        });
        products.collect()
    }

    #[test]
    fn goods_are_offered_under_their_usual_name_at_their_usual_price() {
        let seen = told(
            "StockCode,Description,Quantity,UnitPrice\n\
             85123A,damaged,1,2.95\n\
             POST,POSTAGE,1,18\n\
             85123A,LIGHT HOLDER,6,2.55\n\
             85123A,?,-1,9\n\
             85123A,LIGHT HOLDER,6,2.55\n\
             84406B,,1,1\n\
             84406B,,1,2\n\
             21777,found,10,0\n\
             a/b,slash,1,1\n\
             71053,short\n",
        );
        assert_eq!(seen, ["7: 84406B 84406B 100", "2: 85123A LIGHT HOLDER 255"]);
    }

    #[test]
    fn only_what_nobody_has_touched_since_is_stocked() {
        let of = |version: i64| Known::of(Some(&json!({"version": version})));
        assert_eq!([Known::of(None), of(1)], [Known::Nothing, Known::Created]);
        assert_eq!([of(2), of(3)], [Known::InUse; 2]);
    }
}
