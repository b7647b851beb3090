import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The dashboard's script and style, which proftool/dashboard/assets.py serves; beside the viewer's in the same folder.
export default defineConfig({
  plugins: [svelte({ compilerOptions: { runes: true } })],
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    cssCodeSplit: false,
    lib: { entry: "src/dashboard/main.ts", formats: ["iife"], name: "dashboard", fileName: () => "dashboard.js", cssFileName: "dashboard" },
  },
});
