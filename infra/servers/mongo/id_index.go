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
// should not be that. So that index is made again, under its name and as unique, over the expression of the look-ups; one
// more beside it would be paid for with each document that is written.

const idIndexEvery = 50 * time.Millisecond

// keepIDIndexes makes them again, where that is not done yet, until the context ends. sqliteURL is what FerretDB was given.
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
	rows, err := database.QueryContext(ctx, `SELECT name, tbl_name FROM sqlite_schema
		WHERE type = 'index' AND name = tbl_name || '__id_' AND sql NOT LIKE '%$._id%'`)
	if err != nil {
		return
	}
	var found [][2]string
	for rows.Next() {
		var index, table string
		if rows.Scan(&index, &table) == nil {
			found = append(found, [2]string{quote(index), quote(table)})
		}
	}
	rows.Close()
	for _, names := range found {
		index, table := names[0], names[1]
		_, err := database.ExecContext(ctx, `BEGIN IMMEDIATE; DROP INDEX `+index+`;
			CREATE UNIQUE INDEX `+index+` ON `+table+` (_ferretdb_sjson->'$._id'); COMMIT`)
		if err == nil {
			continue
		}
		database.ExecContext(ctx, `ROLLBACK`)
		if ctx.Err() == nil && !strings.Contains(err.Error(), "no such") {
			slog.Warn("no index for _id", "table", table, "error", err)
		}
	}
}

func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
