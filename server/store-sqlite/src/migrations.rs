//! Schemas by number: each database carries the number of its own, and is brought to the newest in steps.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// "Hark", by which SQLite files of this server are known.
const APPLICATION_ID: i64 = 0x4861_726b;

/// A database's schema: the step at place n takes schema n to n + 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema(pub(crate) &'static [&'static str]);

/// The schema of `log.db`.
pub(crate) const LOG: Schema = Schema(&[
    include_str!("schema/log_1.sql"),
    include_str!("schema/log_2.sql"),
    include_str!("schema/log_3.sql"),
    include_str!("schema/log_4.sql"),
]);
/// The schema of `index.db`.
pub(crate) const INDEX: Schema = Schema(&[include_str!("schema/index_1.sql")]);
/// The schema of `directory.db`.
pub(crate) const DIRECTORY: Schema =
    Schema(&[include_str!("schema/directory_1.sql"), include_str!("schema/directory_2.sql")]);

impl Schema {
    /// The newest schema's number.
    pub(crate) fn newest(self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    /// Refuses a database of another program, or of a newer version of this one. Changes nothing.
    pub(crate) fn recognise(self, connection: &Connection, path: &Path) -> Result<(), OpenError> {
        let fail = |source| OpenError::Database { path: path.into(), source };
        let application = pragma(connection, "application_id").map_err(fail)?;
        let found = pragma(connection, "user_version").map_err(fail)?;
        let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0));
        match (application, found, objects.map_err(fail)?) {
            (0, 0, 0_i64) => Ok(()),
            (APPLICATION_ID, found, _) if found > self.newest() => {
                Err(OpenError::Newer { path: path.into(), found, known: self.newest() })
            }
            (APPLICATION_ID, 1.., _) => Ok(()),
            _ => Err(OpenError::Foreign { path: path.into() }),
        }
    }

    /// Takes the steps that the database has not taken yet, each in a transaction with its new number.
    pub(crate) fn migrate(self, connection: &mut Connection) -> rusqlite::Result<()> {
        let found = pragma(connection, "user_version")?;
        for (number, step) in (1_i64..).zip(self.0).filter(|(number, _)| *number > found) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
            // Of a new database nobody wants to know how it came to be.
            match found {
                0 => tracing::debug!(file = connection.path(), schema = number, "database brought to schema"),
                _ => tracing::info!(file = connection.path(), schema = number, "database brought to schema"),
            }
        }
        Ok(())
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "CREATE TABLE cups (id INTEGER PRIMARY KEY) STRICT; INSERT INTO cups VALUES (7);";
    const TWO: &str = "ALTER TABLE cups ADD COLUMN size INTEGER NOT NULL DEFAULT 3;";

    fn size(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT size FROM cups WHERE id = 7", [], |row| row.get(0))
    }

    #[test]
    fn a_database_takes_the_steps_it_has_not_taken() {
        let mut connection = Connection::open_in_memory().unwrap();
        Schema(&[ONE]).migrate(&mut connection).unwrap();
        assert!(size(&connection).is_err());
        for _ in 0..2 {
            Schema(&[ONE, TWO]).migrate(&mut connection).unwrap();
            assert_eq!(size(&connection), Ok(3));
        }
        assert_eq!(pragma(&connection, "user_version"), Ok(2));
    }

    #[test]
    fn a_step_that_fails_leaves_the_schema_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = Schema(&[ONE, "DELETE FROM cups; SELECT nonsense FROM nowhere;"]);
        assert!(broken.migrate(&mut connection).is_err());
        assert_eq!(pragma(&connection, "user_version"), Ok(1));
        Schema(&[ONE, TWO]).migrate(&mut connection).unwrap();
        assert_eq!(size(&connection), Ok(3));
    }

    #[test]
    fn newer_and_foreign_databases_are_refused() {
        let path = Path::new("/data/log.db");
        let mut connection = Connection::open_in_memory().unwrap();
        LOG.recognise(&connection, path).unwrap();
        Schema(&[ONE, TWO]).migrate(&mut connection).unwrap();
        let error = Schema(&[ONE]).recognise(&connection, path).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }));
        assert!(error.to_string().contains("/data/log.db") && error.to_string().contains("newer"), "{error}");
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
        assert!(matches!(LOG.recognise(&foreign, path), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn every_schema_can_be_made() {
        for schema in [LOG, INDEX, DIRECTORY] {
            let mut connection = Connection::open_in_memory().unwrap();
            schema.migrate(&mut connection).unwrap();
            schema.recognise(&connection, Path::new("x")).unwrap();
        }
    }
}
