//! Which of several reasons to let somebody in, or not, counts. The table in
//! `docs/configuration.md` has the same rows in the same order.

/// What is known about a request for one right.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the right is open to anyone.
    pub open: bool,
    /// What the token of the request is worth.
    pub token: TokenFact,
    /// Whether the client's network has the right.
    pub network: bool,
}

/// What the token of a request is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFact {
    /// There is none.
    Missing,
    /// Nobody knows it.
    Unknown,
    /// It is right, but not for this.
    Insufficient,
    /// It grants the right.
    Granting,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed: anyone may.
    Open,
    /// Allowed by the token.
    ByToken,
    /// Allowed by the client's address.
    ByNetwork,
    /// Refused: the token is for something else.
    Insufficient,
    /// Refused: no such token.
    Unknown,
    /// Refused: it takes a token.
    Missing,
}

/// The first row of the table that applies.
pub fn decide(facts: Facts) -> Decision {
    let Facts {
        open,
        token,
        network,
    } = facts;
    match token {
        _ if open => Decision::Open,
        TokenFact::Granting => Decision::ByToken,
        _ if network => Decision::ByNetwork,
        TokenFact::Insufficient => Decision::Insufficient,
        TokenFact::Unknown => Decision::Unknown,
        TokenFact::Missing => Decision::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the documentation.
    const ROWS: [(Decision, &str); 6] = [
        (
            Decision::Open,
            "| 1 | The right is open. | Allowed, whatever token is sent |",
        ),
        (
            Decision::ByToken,
            "| 2 | The token grants the right. | Allowed |",
        ),
        (
            Decision::ByNetwork,
            "| 3 | The client's network has the right. | Allowed |",
        ),
        (
            Decision::Insufficient,
            "| 4 | The token is valid, but not for this. | 403 `token-insufficient` |",
        ),
        (
            Decision::Unknown,
            "| 5 | Nothing knows the token. | 401 `token-wrong` |",
        ),
        (
            Decision::Missing,
            "| 6 | There is no token. | 401 `token-missing` |",
        ),
    ];

    const TOKENS: [TokenFact; 4] = [
        TokenFact::Missing,
        TokenFact::Unknown,
        TokenFact::Insufficient,
        TokenFact::Granting,
    ];

    /// Whether a row applies, by its words alone.
    fn applies(row: Decision, facts: Facts) -> bool {
        match row {
            Decision::Open => facts.open,
            Decision::ByToken => facts.token == TokenFact::Granting,
            Decision::ByNetwork => facts.network,
            Decision::Insufficient => facts.token == TokenFact::Insufficient,
            Decision::Unknown => facts.token == TokenFact::Unknown,
            Decision::Missing => facts.token == TokenFact::Missing,
        }
    }

    #[test]
    fn the_first_row_that_applies_decides() {
        for bits in 0..4 {
            for token in TOKENS {
                let facts = Facts {
                    open: bits & 1 > 0,
                    network: bits & 2 > 0,
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
        let rows = ROWS.map(|(_, text)| text).join("\n");
        let document = include_str!("../../docs/configuration.md");
        assert!(
            document.contains(&rows),
            "docs/configuration.md lacks:\n{rows}"
        );
    }
}
