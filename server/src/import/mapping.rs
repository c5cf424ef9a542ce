//! Which column holds what.

use std::str::FromStr;

/// What a sale is made of: a name here, whether it is needed.
pub(super) const FIELDS: [(&str, bool); 6] = [
    ("id", true),
    ("occurred_at", true),
    ("total", true),
    ("account", false),
    ("currency", false),
    ("reference", false),
];

/// The columns of a sale's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) id: String,
    pub(crate) occurred_at: String,
    pub(crate) total: String,
    pub(crate) account: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) reference: Option<String>,
}

impl FromStr for Mapping {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let [id, occurred_at, total, account, currency, reference] = columns(text, FIELDS)?;
        let (Some(id), Some(occurred_at), Some(total)) = (id, occurred_at, total) else {
            return Err("id, occurred_at and total are needed".to_owned());
        };
        Ok(Self { id, occurred_at, total, account, currency, reference })
    }
}

impl Mapping {
    /// The columns in the order in which a row is taken apart.
    pub(super) fn columns(&self) -> [Option<String>; FIELDS.len()] {
        let Self { id, occurred_at, total, account, currency, reference } = self.clone();
        [Some(id), Some(occurred_at), Some(total), account, currency, reference]
    }
}

/// Reads `FIELD=COLUMN,…` for fields of which each has a name and is needed or not.
pub(super) fn columns<const N: usize>(
    text: &str,
    fields: [(&str, bool); N],
) -> Result<[Option<String>; N], String> {
    let mut found = [const { None }; N];
    for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let (field, column) = pair
            .split_once('=')
            .map(|(field, column)| (field.trim(), column.trim()))
            .filter(|(_, column)| !column.is_empty())
            .ok_or_else(|| format!("expected FIELD=COLUMN, got {pair:?}"))?;
        let known = fields.iter().position(|(name, _)| *name == field);
        let at = known.ok_or_else(|| {
            let names = fields.map(|(name, _)| name).join(", ");
            format!("unknown field {field:?}: expected one of {names}")
        })?;
        if found[at].replace(column.to_owned()).is_some() {
            return Err(format!("{field} is there twice"));
        }
    }
    let missing = fields.iter().zip(&found).filter(|((_, needed), it)| *needed && it.is_none());
    let missing: Vec<_> = missing.map(|((name, _), _)| format!("{name}=COLUMN")).collect();
    if missing.is_empty() { Ok(found) } else { Err(format!("missing: {}", missing.join(","))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_mapped_in_any_order_and_blanks_do_not_count() {
        let it: Mapping = "total = Total Price, id=No ,occurred_at=Date,account=A".parse().unwrap();
        assert_eq!((it.id.as_str(), it.total.as_str()), ("No", "Total Price"));
        assert_eq!((it.account.as_deref(), it.currency), (Some("A"), None));
    }

    #[test]
    fn what_is_wrong_with_a_mapping_is_said() {
        let refusal = |text: &str| text.parse::<Mapping>().unwrap_err();
        assert_eq!(refusal(""), "missing: id=COLUMN,occurred_at=COLUMN,total=COLUMN");
        assert_eq!(refusal("id=a,total=b"), "missing: occurred_at=COLUMN");
        assert_eq!(refusal("id"), "expected FIELD=COLUMN, got \"id\"");
        assert_eq!(refusal("id="), "expected FIELD=COLUMN, got \"id=\"");
        assert_eq!(refusal("id=a,id=b"), "id is there twice");
        let unknown = refusal("ID=a");
        assert!(unknown.starts_with("unknown field \"ID\": expected one of id, occurred_at"));
    }
}
