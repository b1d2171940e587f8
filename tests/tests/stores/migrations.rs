//! Databases of other versions.

use nodes::store::{self, From, StoreError};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::place::{NOW, Place, run, shared};

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (999, 'of tomorrow', true, '', 0)";

#[test]
fn a_database_that_is_newer_than_the_program_is_refused() {
    run(async {
        let told = |error: StoreError| assert!(error.to_string().contains("newer"), "{error}");
        let place = Place::sqlite().await;
        let path = place.url.strip_prefix("sqlite:").unwrap();
        let mut connection = SqliteConnection::connect(path).await.unwrap();
        sqlx::query(NEWER).execute(&mut connection).await.unwrap();
        told(store::open(&place.url).await.unwrap_err());

        let place = Place::postgres().await;
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        sqlx::query(NEWER).execute(&mut connection).await.unwrap();
        told(store::open(&place.url).await.unwrap_err());
    });
}

#[test]
fn nodes_that_start_at_once_on_an_empty_database_all_start() {
    run(async {
        let server = shared();
        let folder = tests::folder::Folder::new().unwrap();
        for url in [server.database().unwrap(), format!("sqlite:{}", folder.file("a.db").display())] {
            let starts = (0..4).map(|_| {
                tokio::spawn({
                    let url = url.clone();
                    async move { store::open(&url).await.map(drop) }
                })
            });
            for start in starts.collect::<Vec<_>>() {
                start.await.unwrap().unwrap();
            }
        }
    });
}

#[test]
fn what_version_1_has_stored_is_there_in_version_2() {
    run(async {
        let server = shared();
        let url = server.database().unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let versions = sqlx::migrate!("../relay/nodes/migrations/postgres");
        versions.run_to(1, &mut connection).await.unwrap();
        // As version 1 has it.
        sqlx::raw_sql(
            "INSERT INTO streams (channel, workspace, epoch, top) VALUES (5, 1, 'e', 1);
             INSERT INTO behind VALUES (5);
             INSERT INTO messages (channel, place, id, sender, created_at, key, media, body)
                 VALUES (5, 1, 70, 2, 9, 'k', '', '{\"text\":\"old words\"}');",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let place = Place::of(&url).await;
        let mut group = crate::place::Group {
            workspace: nodes::model::Id(1),
            channel: nodes::model::Id(5),
            users: vec![],
        };
        group.users.push(nodes::model::Id(2));
        assert_eq!(place.post(&group, 0, "new words").await.message.offset, 2);
        let (_, page) = place.store.page(group.channel, From::After(0), 9).await.unwrap().unwrap();
        assert_eq!(page.iter().map(|message| message.created_at).collect::<Vec<_>>(), [9, NOW]);
        assert_eq!(place.store.index(9).await.unwrap(), 2);
        assert_eq!(place.store.search(&[group.channel], "words", None, 9).await.unwrap().len(), 2);
        assert_eq!(place.store.unannounced(9).await.unwrap().len(), 1);
        drop(place);
        store::open(&url).await.unwrap();
    });
}
