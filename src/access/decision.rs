//! Which of several reasons to allow or refuse access counts. The table in `docs/configuration.md`
//! has the same rows in the same order.

/// What is known about a request for one right.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the right is open to anyone.
    pub open: bool,
    /// The standing of the request's token.
    pub token: TokenFact,
    /// Whether the client's network has the right.
    pub network: bool,
    /// Whether a callback decides about this right.
    pub callback: bool,
}

/// The standing of a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFact {
    /// There is none.
    Missing,
    /// Nobody knows it.
    Unknown,
    /// It was right once.
    Expired,
    /// It is right, but not for this.
    Insufficient,
    /// It grants the right.
    Granting,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// Allowed: anyone may.
    Open,
    /// Allowed by the token.
    ByToken,
    /// Allowed by the client's address.
    ByNetwork,
    /// The callback decides.
    AskCallback,
    /// Refused: the token is for something else.
    Insufficient,
    /// Refused: the token has expired.
    Expired,
    /// Refused: no such token.
    Unknown,
    /// Refused: it takes a token.
    Missing,
}

/// The first row of the table that applies.
pub fn decide(facts: Facts) -> AccessDecision {
    let Facts {
        open,
        token,
        network,
        callback,
    } = facts;
    match token {
        _ if open => AccessDecision::Open,
        TokenFact::Granting => AccessDecision::ByToken,
        _ if network => AccessDecision::ByNetwork,
        TokenFact::Missing | TokenFact::Unknown if callback => AccessDecision::AskCallback,
        TokenFact::Insufficient => AccessDecision::Insufficient,
        TokenFact::Expired => AccessDecision::Expired,
        TokenFact::Unknown => AccessDecision::Unknown,
        TokenFact::Missing => AccessDecision::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the documentation, with the problems of those that refuse.
    const ROWS: [(AccessDecision, Option<&str>); 8] = [
        (AccessDecision::Open, None),
        (AccessDecision::ByToken, None),
        (AccessDecision::ByNetwork, None),
        (AccessDecision::AskCallback, None),
        (
            AccessDecision::Insufficient,
            Some("403 `token-insufficient`"),
        ),
        (AccessDecision::Expired, Some("401 `token-expired`")),
        (AccessDecision::Unknown, Some("401 `token-wrong`")),
        (AccessDecision::Missing, Some("401 `token-missing`")),
    ];

    const TOKENS: [TokenFact; 5] = [
        TokenFact::Missing,
        TokenFact::Unknown,
        TokenFact::Expired,
        TokenFact::Insufficient,
        TokenFact::Granting,
    ];

    /// Whether a row applies, by its words alone.
    fn applies(row: AccessDecision, facts: Facts) -> bool {
        match row {
            AccessDecision::Open => facts.open,
            AccessDecision::ByToken => facts.token == TokenFact::Granting,
            AccessDecision::ByNetwork => facts.network,
            AccessDecision::AskCallback => {
                facts.callback && [TokenFact::Missing, TokenFact::Unknown].contains(&facts.token)
            }
            AccessDecision::Insufficient => facts.token == TokenFact::Insufficient,
            AccessDecision::Expired => facts.token == TokenFact::Expired,
            AccessDecision::Unknown => facts.token == TokenFact::Unknown,
            AccessDecision::Missing => facts.token == TokenFact::Missing,
        }
    }

    #[test]
    fn the_first_row_that_applies_decides() {
        for bits in 0..8 {
            for token in TOKENS {
                let facts = Facts {
                    open: bits & 1 > 0,
                    network: bits & 2 > 0,
                    callback: bits & 4 > 0,
                    token,
                };
                let mut rows = ROWS.into_iter();
                let first = rows.find(|&(row, _)| applies(row, facts));
                assert_eq!(first.unwrap().0, decide(facts), "{facts:?}");
            }
        }
    }

    #[test]
    fn the_documentation_has_the_same_rows() {
        let document = include_str!("../../docs/configuration.md");
        for (number, (row, problem)) in (1..).zip(ROWS) {
            let mut lines = document.lines();
            let line = lines.find(|line| line.starts_with(&format!("| {number} | ")));
            let line = line.unwrap_or_default();
            assert!(line.contains(problem.unwrap_or("| ")), "{row:?}: {line}");
        }
    }
}
