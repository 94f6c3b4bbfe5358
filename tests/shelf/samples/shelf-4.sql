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
, hash TEXT);
INSERT INTO "favourites" VALUES(1,1,'/c','case-1','Title','Text','["effusion"]','{}','','','','',X'00FF70696374757265','mine','2026-01-02T03:04:05Z','e64301117a9e88dc7b373e588afe254bb7febb0b3401a7b62aed46ece08703a3');
INSERT INTO "favourites" VALUES(2,1,'/c','case-2','Title','Text','["effusion"]','{}','','','','',X'00FF70696374757265','','2026-01-02T03:04:05Z','429c694bee0dad2dbce4b207db0457a63d6e66cc8052132160d09553088287ef');
CREATE TABLE "folders" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT NOT NULL,
   "created" TEXT
, hash TEXT);
INSERT INTO "folders" VALUES(1,'Für Lehre','2026-01-02T03:04:05Z','f146a22cd9954aba30f282e5b9af4a8b2db63c9007bb0796f09cd6a98016a69d');
CREATE TABLE "questions" (
   "fingerprint" TEXT PRIMARY KEY,
   "query" TEXT
, hash TEXT);
INSERT INTO "questions" VALUES('513f04bbb4580c1d34d66601300a2bc5','{"terms": [{"kind": "text", "words": "effusion", "weight": 1.0}], "filters": [], "collections": [], "limit": 20, "against": "both", "mix": null, "min_cosine": null, "min_strength": null, "exact": false}','f9b9e58460f7e606a97dcf650509f1ac62163805bf01371f90d7f4d20ff49fbb');
CREATE TABLE "recent" (
   "id" INTEGER PRIMARY KEY,
   "fingerprint" TEXT,
   "query" TEXT,
   "asked" TEXT
, hash TEXT);
INSERT INTO "recent" VALUES(1,'513f04bbb4580c1d34d66601300a2bc5','{"terms": [{"kind": "text", "words": "effusion", "weight": 1.0}], "filters": [], "collections": [], "limit": 20, "against": "both", "mix": null, "min_cosine": null, "min_strength": null, "exact": false}','2026-01-02T03:04:05Z','e1cdae846f385a6ac4cf760856d7c220492ac0255783f77a3f76b772a5ccc17f');
CREATE TABLE "saved" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT,
   "query" TEXT,
   "saved" TEXT
, hash TEXT);
INSERT INTO "saved" VALUES(1,'Effusions','{"terms": [{"kind": "text", "words": "effusion", "weight": 1.0}], "filters": [], "collections": [], "limit": 20, "against": "both", "mix": null, "min_cosine": null, "min_strength": null, "exact": false}','2026-01-02T03:04:05Z','db2dc1f4450f3ee48bb070609f5a7980b900dd39bb17217f79a4e6b2516e4e65');
CREATE TABLE state (id INTEGER PRIMARY KEY, shelf TEXT, format INTEGER, changes INTEGER, total TEXT, schema TEXT, hash TEXT);
INSERT INTO "state" VALUES(1,'fc2d60c20eb822ee',4,2,'1552622f3e68f8fef9ef1cf993242e41e94bb1f3cca5ccfa41513d514c86ff6e','ce2e320f2d88af0aee5dd6c320c6ebe630dcc2b3de0127fbbf724999ce149552','4055094e44ac31db723a9939c8399ad764c14d2b7e62a9eefbe0724a040b2812');
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
, hash TEXT);
INSERT INTO "verdicts" VALUES(1,'2026-01-02T03:04:05Z','513f04bbb4580c1d34d66601300a2bc5','/c','case-1',1,2,'d','all','4476ffa7e6e7f8e496e2f3e57836397761e67e273efaba727b02f770dc371da0');
CREATE UNIQUE INDEX folders_name ON folders (name COLLATE NOCASE);
CREATE UNIQUE INDEX "idx_favourites_folder_collection_case_id"
    ON "favourites" ("folder", "collection", "case_id");
CREATE INDEX "idx_favourites_collection_case_id"
    ON "favourites" ("collection", "case_id");
CREATE INDEX "idx_verdicts_query"
    ON "verdicts" ("query");
CREATE UNIQUE INDEX "idx_recent_fingerprint"
    ON "recent" ("fingerprint");
CREATE UNIQUE INDEX saved_name ON saved (name COLLATE NOCASE);
COMMIT;
PRAGMA user_version = 4;
