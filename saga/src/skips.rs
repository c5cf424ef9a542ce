//! Skips: what a campaign could not judge or give, counted by campaign, version, rule and reason.

use accrue_event_store::record::Position;
use sqlx::PgConnection;

/// The rules of an active campaign do not compile (any more).
pub(crate) const RULES_DO_NOT_COMPILE: &str = "rules_do_not_compile";

/// The rules together give more than one lot may have.
pub(crate) const TOO_MANY_POINTS: &str = "too_many_points";

/// The account said no to the award.
pub(crate) const REFUSED: &str = "refused";

/// Longest detail that is kept, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// One rule, or one campaign as a whole, that gave nothing for an event, against its will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) program: String,
    pub(crate) campaign: String,
    pub(crate) version: u32,
    /// The rule's index, from 0; none where it is the campaign as a whole.
    pub(crate) rule: Option<usize>,
    /// One of the engine's reasons, or one of those above.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) detail: String,
    /// The event.
    pub(crate) position: Position,
}

/// Where events come in order, skips at or before a row's last position are in its count already:
/// they come again when the follower is sent back to an earlier position.
const COUNT: &str = "
INSERT INTO public.campaign_skips AS known
       (program, campaign, version, rule, reason, count, last_position, last_detail)
SELECT program, campaign, version, rule, reason, count(*), max(position),
       (array_agg(detail ORDER BY position DESC))[1]
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[],
              $7::bigint[]) AS s(program, campaign, version, rule, reason, detail, position)
 WHERE NOT $8 OR NOT EXISTS (SELECT FROM public.campaign_skips AS k
                    WHERE k.program = s.program AND k.campaign = s.campaign
                      AND k.version = s.version AND k.rule = s.rule AND k.reason = s.reason
                      AND k.last_position >= s.position)
 GROUP BY program, campaign, version, rule, reason
 ORDER BY program, campaign, version, rule, reason
    ON CONFLICT (program, campaign, version, rule, reason) DO UPDATE
   SET count = known.count + EXCLUDED.count,
       last_position = greatest(known.last_position, EXCLUDED.last_position),
       last_detail = CASE WHEN EXCLUDED.last_position >= known.last_position
                          THEN EXCLUDED.last_detail ELSE known.last_detail END";

/// Counts them, in the caller's transaction; rows go in order, since several workers count.
pub(crate) async fn count(
    conn: &mut PgConnection,
    skips: &[Skip],
    in_order: bool,
) -> sqlx::Result<()> {
    if skips.is_empty() {
        return Ok(());
    }
    sqlx::query(COUNT)
        .bind(skips.iter().map(|skip| &*skip.program).collect::<Vec<_>>())
        .bind(skips.iter().map(|skip| &*skip.campaign).collect::<Vec<_>>())
        .bind(skips.iter().map(|skip| i64::from(skip.version)).collect::<Vec<_>>())
        .bind(skips.iter().map(Skip::place).collect::<Vec<_>>())
        .bind(skips.iter().map(|skip| skip.reason).collect::<Vec<_>>())
        .bind(skips.iter().map(Skip::storable_detail).collect::<Vec<_>>())
        .bind(skips.iter().map(|skip| skip.position).collect::<Vec<_>>())
        .bind(in_order)
        .execute(conn)
        .await?;
    Ok(())
}

impl Skip {
    /// Rules count from 1 for people; 0 stands for the campaign as a whole, as a key has no nulls.
    fn place(&self) -> i64 {
        self.rule.and_then(|rule| i64::try_from(rule + 1).ok()).unwrap_or(0)
    }

    /// A text of Postgres holds no NUL, and a detail may quote what a client sent.
    fn storable_detail(&self) -> String {
        self.detail.chars().filter(|c| *c != '\0').take(DETAIL_CHARS_MAX).collect()
    }
}
