-- Only for showing: a text in lines of at most so many characters, and a reason without the numbers it begins with
CREATE FUNCTION words(text, width int) RETURNS text IMMUTABLE
    RETURN rtrim(regexp_replace($1, '(.{1,' || width || '})(\s+|$)', E'\\1\n', 'g'), E'\n');
CREATE FUNCTION why(reason text, width int) RETURNS text IMMUTABLE
    RETURN words(regexp_replace(reason, '^[^;]*unused; ', ''), width);
