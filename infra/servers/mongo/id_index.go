package main

import (
	"context"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver that FerretDB itself uses
)

// FerretDB 1.24 makes an index for _id over one expression and looks documents up by another, so that SQLite goes through
// the whole collection for every document that is found or replaced by its _id. MongoDB does not, and what is measured here
// should not be that. So every collection is given an index that FerretDB's own look-ups can use.

const idIndexEvery = 50 * time.Millisecond

// keepIDIndexes makes the missing ones until the context ends. sqliteURL is what FerretDB was given.
func keepIDIndexes(ctx context.Context, sqliteURL string) {
	parsed, err := url.Parse(sqliteURL)
	if err != nil {
		return
	}
	folder := parsed.Path
	if folder == "" {
		folder = parsed.Opaque
	}
	databases := map[string]*sql.DB{}
	ticker := time.NewTicker(idIndexEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, database := range databases {
				database.Close()
			}
			return
		case <-ticker.C:
			files, _ := filepath.Glob(filepath.Join(folder, "*.sqlite"))
			closeGone(databases)
			for _, file := range files {
				if databases[file] == nil {
					databases[file], err = sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
					if err != nil {
						delete(databases, file)
						continue
					}
					databases[file].SetMaxOpenConns(1)
				}
				indexIDs(ctx, databases[file])
			}
		}
	}
}

// A dropped database is a removed file: whoever keeps it open would look at it for good.
func closeGone(databases map[string]*sql.DB) {
	for file, database := range databases {
		if _, err := os.Stat(file); os.IsNotExist(err) {
			database.Close()
			delete(databases, file)
		}
	}
}

func indexIDs(ctx context.Context, database *sql.DB) {
	rows, err := database.QueryContext(ctx, `SELECT table_name FROM _ferretdb_collections
		WHERE table_name || '_heddle' NOT IN (SELECT name FROM sqlite_schema WHERE type = 'index')`)
	if err != nil {
		// The file is new, and FerretDB has not made its own table yet.
		return
	}
	var tables []string
	for rows.Next() {
		var table string
		if rows.Scan(&table) == nil {
			tables = append(tables, table)
		}
	}
	rows.Close()
	for _, table := range tables {
		quoted := `"` + strings.ReplaceAll(table, `"`, `""`) + `"`
		index := `"` + strings.ReplaceAll(table, `"`, `""`) + `_heddle"`
		_, err := database.ExecContext(ctx, `CREATE INDEX IF NOT EXISTS `+index+` ON `+quoted+` (_ferretdb_sjson->'$._id')`)
		if err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "no such table") {
			slog.Warn("no index for _id", "table", table, "error", err)
		}
	}
}
