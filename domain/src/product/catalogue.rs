//! Create, change, retire: what a product is.

use super::command::{Changes, New};
use super::error::{Error, IMAGE_CHARS_MAX};
use super::event::Event;
use super::fold::created_as;
use super::{Details, Draft};
use crate::text;

impl Draft<'_> {
    pub(super) fn create(&mut self, new: New) -> Result<(), Error> {
        let New { name, kind, description, image, price } = new;
        let details =
            Details { name, description: filled(description), image: filled(image), price };
        check(&details)?;
        if let Some(seen) = &self.state.listing {
            // A retry gets the first answer, whatever became of the product since.
            let same = seen.created_as == created_as(kind, &details);
            return if same { Ok(()) } else { Err(Error::Exists) };
        }
        let Details { name, description, image, price } = details;
        self.push(Event::ProductCreated { name, kind, description, image, price });
        Ok(())
    }

    pub(super) fn change(&mut self, changes: Changes) -> Result<(), Error> {
        let listing = self.listing()?;
        let now = &listing.details;
        let details = Details {
            name: changes.name.unwrap_or_else(|| now.name.clone()),
            description: changes.description.map_or_else(|| now.description.clone(), some_filled),
            image: changes.image.map_or_else(|| now.image.clone(), some_filled),
            price: changes.price.unwrap_or(now.price),
        };
        check(&details)?;
        if listing.retired {
            return Err(Error::Retired);
        }
        if details != *now {
            let Details { name, description, image, price } = details;
            self.push(Event::ProductChanged { name, description, image, price });
        }
        Ok(())
    }

    pub(super) fn retire(&mut self) -> Result<(), Error> {
        if !self.listing()?.retired {
            self.push(Event::ProductRetired {});
        }
        Ok(())
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.and_then(some_filled)
}

fn some_filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn check(details: &Details) -> Result<(), Error> {
    let invalid = |field| move |why| Error::InvalidText { field, why };
    text::check(&details.name).map_err(invalid("/name"))?;
    let description = details.description.as_deref().unwrap_or_default();
    text::check_description(description).map_err(invalid("/description"))?;
    match details.image.as_deref() {
        Some(image) if !is_address(image) => Err(Error::InvalidImage),
        Some(_) | None => Ok(()),
    }
}

/// Pages show it, so it must not be a script: `javascript:` and its kin are no picture. A path is
/// one of the shop's own, so `//elsewhere` is none.
fn is_address(image: &str) -> bool {
    let path = image.starts_with('/') && !image.starts_with("//");
    let begins = path || image.starts_with("https://") || image.starts_with("http://");
    begins && image.len() <= IMAGE_CHARS_MAX && image.bytes().all(|c| c.is_ascii_graphic())
}
