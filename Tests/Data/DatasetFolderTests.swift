import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Published folders and their mirrors are found as they are.
@Suite struct DatasetFolderTests {
    private let example = SyntheticDataset.example(.init())

    @Test func theOnlyDataSetNeedsNoName() throws {
        for layout in ["", "libero_10_no_noops", "mirror/modified_libero_rlds", "a/b/c"] {
            let folder = try TemporaryFolder()
            try SyntheticDataset(
                root: folder.url.appendingPathComponent(layout), name: "libero_10_no_noops", version: "0.1.0"
            ).write(shards: [[example]])
            for name in [nil, "libero_10_no_noops", "liber_o10"] {
                let dataset = try RLDSStore(root: folder.url.path, name: name)
                #expect(dataset.name == name ?? "libero_10_no_noops" && dataset.files.name == "liber_o10")
                #expect(dataset.path.hasSuffix("libero_10_no_noops/0.1.0"))
            }
        }
    }

    @Test func aFolderWithoutAVersionIsNamedByItself() throws {
        let folder = try TemporaryFolder()
        try SyntheticDataset(root: folder.url, name: "mine", version: "data").write(shards: [[example]])
        #expect(try RLDSStore(root: folder.url.path).name == "data")
    }

    @Test func theNewestVersionIsTaken() throws {
        let folder = try TemporaryFolder()
        for version in ["0.9.0", "0.10.0", "0.1.0"] {
            try SyntheticDataset(root: folder.url, name: "d", version: version).write(shards: [[example]])
        }
        #expect(try RLDSStore(root: folder.url.path).path.hasSuffix("d/0.10.0"))
    }

    @Test func severalCandidatesAreListed() throws {
        let folder = try TemporaryFolder()
        for name in ["one", "two", "x/one"] {
            try SyntheticDataset(root: folder.url.appendingPathComponent("all"), name: name).write(shards: [[example]])
        }
        func message(_ name: String?) -> String {
            dataError { _ = try RLDSStore(root: folder.url.path, name: name) }?.description ?? "no error"
        }
        for word in ["holds 3 data sets", "all/one/1.0.0", "all/two/1.0.0", "all/x/one/1.0.0", "--dataset"] {
            #expect(message(nil).contains(word), "\(message(nil))")
        }
        #expect(message("one").contains("holds 'one' 2 times"))
        #expect(message("two") == "no error")
    }

    /// Wherever above it one asks, and whether by name or not.
    @Test func aLostInfoFileIsNamed() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url.appendingPathComponent("x"), name: "d")
        try dataset.write(shards: [[example], [example]])
        let info = dataset.folder.appendingPathComponent("dataset_info.json")
        try FileManager.default.removeItem(at: info)
        for root in ["", "/x", "/x/d", "/x/d/1.0.0"] {
            for name in [nil, "d"] {
                let message = dataError { _ = try RLDSStore(root: folder.url.path + root, name: name) }
                #expect(
                    message?.description.contains(
                        "d/1.0.0/dataset_info.json: is missing, though features.json and 2 shards are there") == true,
                    "\(root): \(message?.description ?? "no error")")
            }
        }
        // A whole set beside it is what is meant.
        try SyntheticDataset(root: folder.url, name: "whole").write(shards: [[example]])
        #expect(try RLDSStore(root: folder.url.path).name == "whole")
    }

    @Test func whereItLookedIsSaid() throws {
        let folder = try TemporaryFolder()
        func message(_ root: String) -> String {
            dataError { _ = try RLDSStore(root: root) }?.description ?? "no error"
        }
        let deep = try SyntheticDataset(root: folder.url.appendingPathComponent("a/b/c/e"), name: "d")
        try deep.write(shards: [[example]])
        #expect(message(folder.url.path).contains("at most 5 folders deep"), "\(message(folder.url.path))")
        #expect(message(folder.path("a")) == "no error")
        let file = deep.shardURL(0, of: 1).path
        #expect(message(file).contains("\(file): is a file, not a folder. Pass the folder"), "\(message(file))")
    }

    @Test func renamedSetsKeepTheirFiles() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [[example], [example]])
        try dataset.replaceInfo(#"{"name":"other","splits":[{"name":"train","shardLengths":["1","1"]}]}"#)
        #expect(try RLDSStore(root: folder.url.path).episodes.count == 2)
        let problems = try DatasetVerification(root: folder.url.path).problems
        #expect(problems.count == 1)
        for word in [
            "dataset_info.json: names the data set 'other'", "liber_o10-train.tfrecord-00000-of-00002", "tfds",
        ] {
            #expect(problems[0].message.contains(word), "\(problems[0].message)")
        }
    }

    @Test func aWrongTemplateIsNotTakenForAWrongName() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [[example]])
        try dataset.replaceInfo(
            #"{"name":"liber_o10","splits":[{"name":"train","shardLengths":["1"],"#
                + #""filepathTemplate":"{DATASET}_{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}]}"#)
        #expect(try RLDSStore(root: folder.url.path).episodes.count == 1)
        let problems = try DatasetVerification(root: folder.url.path).problems
        #expect(problems.count == 1)
        for word in [
            "dataset_info.json: filepathTemplate is '{DATASET}_{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'",
            "the first file is liber_o10-train.tfrecord-00000-of-00001",
            "the template to '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'",
        ] {
            #expect(problems[0].message.contains(word), "\(problems[0].message)")
        }
    }
}
