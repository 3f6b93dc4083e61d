import vue from '@vitejs/plugin-vue'
import { ElementPlusResolver } from 'unplugin-vue-components/resolvers'
import Components from 'unplugin-vue-components/vite'
import { defineConfig } from 'vite'

// Element's components are found in templates; its services (ElMessage) are imported by hand with
// their sheet, because the resolver cannot see them.
export default defineConfig({
  plugins: [
    vue(),
    Components({
      dts: 'src/components.d.ts',
      dirs: [],
      resolvers: [ElementPlusResolver({ importStyle: 'css' })],
    }),
  ],
  // Browsers of domestic desktop systems carry an older Chromium core.
  build: {
    target: ['chrome87', 'firefox91', 'safari14'],
    chunkSizeWarningLimit: 620,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: {
    host: '127.0.0.1',
    proxy: { '/api': { target: 'https://127.0.0.1:8440', secure: false, ws: true } },
  },
})
