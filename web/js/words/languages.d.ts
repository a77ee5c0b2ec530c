/** The server makes this list from the files in this folder. */
declare const languages: string[];
export default languages;
