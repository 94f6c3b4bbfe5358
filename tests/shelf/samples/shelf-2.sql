BEGIN TRANSACTION;
CREATE TABLE "favourites" (
   "id" INTEGER PRIMARY KEY,
   "folder" INTEGER NOT NULL REFERENCES "folders"("id"),
   "collection" TEXT NOT NULL,
   "case_id" TEXT NOT NULL,
   "title" TEXT,
   "text" TEXT,
   "labels" TEXT,
   "facets" TEXT,
   "licence" TEXT,
   "source" TEXT,
   "source_url" TEXT,
   "image" TEXT,
   "thumbnail" BLOB,
   "note" TEXT,
   "kept" TEXT
);
INSERT INTO "favourites" VALUES(1,1,'/c','case-1','Title','Text','["effusion"]','{}','','','','',X'00FF70696374757265','mine','2026-01-02T03:04:05Z');
INSERT INTO "favourites" VALUES(2,1,'/c','case-2','Title','Text','["effusion"]','{}','','','','',X'00FF70696374757265','','2026-01-02T03:04:05Z');
CREATE TABLE "folders" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT NOT NULL,
   "created" TEXT
);
INSERT INTO "folders" VALUES(1,'Für Lehre','2026-01-02T03:04:05Z');
CREATE TABLE "questions" (
   "fingerprint" TEXT PRIMARY KEY,
   "query" TEXT
);
INSERT INTO "questions" VALUES('513f04bbb4580c1d34d66601300a2bc5','{"terms": [{"kind": "text", "words": "effusion", "weight": 1.0}], "filters": [], "collections": [], "limit": 20, "against": "both", "mix": null, "min_cosine": null, "min_strength": null, "exact": false}');
CREATE TABLE "verdicts" (
   "id" INTEGER PRIMARY KEY,
   "given" TEXT,
   "query" TEXT NOT NULL,
   "collection" TEXT NOT NULL,
   "case_id" TEXT NOT NULL,
   "thumb" INTEGER NOT NULL,
   "rank" INTEGER,
   "encoder_digest" TEXT,
   "scope" TEXT
);
INSERT INTO "verdicts" VALUES(1,'2026-01-02T03:04:05Z','513f04bbb4580c1d34d66601300a2bc5','/c','case-1',1,2,'d','all');
CREATE UNIQUE INDEX folders_name ON folders (name COLLATE NOCASE);
CREATE UNIQUE INDEX "idx_favourites_folder_collection_case_id"
    ON "favourites" ("folder", "collection", "case_id");
CREATE INDEX "idx_favourites_collection_case_id"
    ON "favourites" ("collection", "case_id");
CREATE INDEX "idx_verdicts_query"
    ON "verdicts" ("query");
COMMIT;
PRAGMA user_version = 2;
