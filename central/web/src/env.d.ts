/// <reference types="vite/client" />

// The light build has no type entry of its own; what is used of it is the same.
declare module 'hls.js/light' {
  import Hls from 'hls.js'

  export default Hls
  export * from 'hls.js'
}
