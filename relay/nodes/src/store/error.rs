//! What errors of SQLite and PostgreSQL mean to a caller.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgDatabaseError;

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(told) => meaning(told.as_ref()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Away(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

fn meaning(error: &dyn DatabaseError) -> StoreError {
    let text = error.message().to_owned();
    if error.kind() == ErrorKind::UniqueViolation {
        return StoreError::Exists;
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        postgres(&code, text)
    } else {
        sqlite(&code, text)
    }
}

/// By SQLSTATE (PostgreSQL's documentation, appendix A).
fn postgres(code: &str, text: String) -> StoreError {
    match code {
        "53100" => StoreError::Full,
        "25006" => StoreError::ReadOnly(text),
        // Connection exceptions; out of connections or memory; shut down, crashed, starting; I/O.
        _ if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => StoreError::Away(text),
        // Statements that took too long, deadlocks and serialization: again, later.
        "57014" | "55P03" | "40001" | "40P01" => StoreError::Away(text),
        _ => StoreError::Refused(text),
    }
}

/// By result code; the primary one is in its lowest byte (sqlite.org/rescode.html).
fn sqlite(code: &str, text: String) -> StoreError {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        13 => StoreError::Full,
        8 => StoreError::ReadOnly(text),
        // BUSY, LOCKED, NOMEM, IOERR, CANTOPEN, PROTOCOL.
        5 | 6 | 7 | 10 | 14 | 15 => StoreError::Away(text),
        _ => StoreError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    #[tokio::test]
    async fn a_read_only_database_says_so() {
        let memory = SqliteConnectOptions::new().in_memory(true).pragma("query_only", "1");
        let mut connection = memory.connect().await.unwrap();
        let told = sqlx::query("CREATE TABLE t (a)").execute(&mut connection).await.unwrap_err();
        let told = StoreError::from(told);
        assert!(matches!(&told, StoreError::ReadOnly(why) if why.contains("readonly")), "{told}");
    }

    #[test]
    fn codes_say_whose_fault_it_is() {
        let away = |error| matches!(error, StoreError::Away(_));
        for code in ["08006", "57P01", "57P03", "53300", "58030", "40P01"] {
            assert!(away(postgres(code, String::new())), "{code}");
        }
        assert_eq!(postgres("53100", String::new()), StoreError::Full);
        assert!(matches!(postgres("25006", String::new()), StoreError::ReadOnly(_)));
        assert!(matches!(postgres("42601", String::new()), StoreError::Refused(_)));
        assert_eq!(sqlite("13", String::new()), StoreError::Full);
        for code in ["5", "10", "2826", "14"] {
            assert!(away(sqlite(code, String::new())), "{code}");
        }
        assert!(matches!(sqlite("1", String::new()), StoreError::Refused(_)));
    }
}
