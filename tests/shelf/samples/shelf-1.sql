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
CREATE UNIQUE INDEX folders_name ON folders (name COLLATE NOCASE);
CREATE UNIQUE INDEX "idx_favourites_folder_collection_case_id"
    ON "favourites" ("folder", "collection", "case_id");
CREATE INDEX "idx_favourites_collection_case_id"
    ON "favourites" ("collection", "case_id");
COMMIT;
PRAGMA user_version = 1;
